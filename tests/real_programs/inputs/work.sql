SET work_mem = '1MB';
CREATE TABLE t AS SELECT i AS id, (i * 7919) % 10007 AS n, repeat('x', i % 200) || i AS word,
  jsonb_build_object('id', i, 'tags', ARRAY[i % 3, i % 7], 'deep', jsonb_build_object('n', i % 11)) AS doc
  FROM generate_series(1, 30000) i;
CREATE INDEX ON t(n);
CREATE INDEX ON t USING gin(doc);
ANALYZE t;
SELECT count(*), sum(n), md5(string_agg(word, ',' ORDER BY id)) FROM t;
SELECT n % 10, count(*), sum(length(word)), count(DISTINCT word) FROM t GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM t a JOIN t b ON a.n = b.n AND a.id < b.id;
SELECT md5(string_agg(doc::text, '' ORDER BY id)) FROM t WHERE doc @> '{"deep": {"n": 3}}';
SELECT id, row_number() OVER (PARTITION BY n % 5 ORDER BY word COLLATE "C", id) FROM t ORDER BY 2 DESC, 1 LIMIT 5;
SELECT count(*) FROM t WHERE word ~ '^x+(1|2)[0-9]*7$';
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT sum(abalance), count(*), max(aid) FROM pgbench_accounts;
SELECT count(*), sum(n) FROM t WHERE md5(word) < '8';
WITH RECURSIVE r(i, s) AS (SELECT 1, 'a' UNION ALL SELECT i + 1, left(s || i, 300) FROM r WHERE i < 3000) SELECT count(*), max(length(s)) FROM r;
DO $$
DECLARE total bigint := 0; words text[] := '{}';
BEGIN
  FOR i IN 1..3000 LOOP
    words := array_append(words, md5(i::text));
    BEGIN
      IF i % 10 = 0 THEN RAISE division_by_zero; END IF;
      total := total + i;
    EXCEPTION WHEN division_by_zero THEN total := total - 1;
    END;
  END LOOP;
  CREATE TABLE result AS SELECT total AS total, md5(array_to_string(words, ',')) AS words;
END $$;
SELECT * FROM result;
BEGIN;
UPDATE t SET word = upper(word) WHERE id % 3 = 0;
SAVEPOINT s;
DELETE FROM t WHERE id % 2 = 0;
ROLLBACK TO s;
COMMIT;
VACUUM FULL t;
SELECT md5(string_agg(word, ',' ORDER BY id)) FROM t;
COPY (SELECT id, n, doc FROM t ORDER BY id DESC LIMIT 3) TO STDOUT WITH (FORMAT csv);
