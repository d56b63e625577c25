-- A database in memory: inserts, indexes, joins, aggregates, text.
PRAGMA temp_store = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, kind INTEGER, price REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 100003), i % 97, i * 0.25 FROM n;
CREATE INDEX item_name ON item (name);
CREATE INDEX item_kind ON item (kind, price);
CREATE TABLE sale AS SELECT id % 5000 AS buyer, id AS item, price * 1.1 AS paid FROM item WHERE id % 3 = 0;
CREATE INDEX sale_buyer ON sale (buyer);
SELECT kind, count(*), sum(price), length(group_concat(name)) FROM item GROUP BY kind ORDER BY 3 DESC LIMIT 5;
SELECT buyer, count(DISTINCT name), max(paid) FROM sale JOIN item ON item.id = sale.item GROUP BY buyer ORDER BY 3 LIMIT 5;
UPDATE item SET name = upper(name) || kind WHERE kind < 40;
DELETE FROM item WHERE kind % 5 = 0;
SELECT count(*), avg(length(name)) FROM item WHERE name LIKE '%9%';
