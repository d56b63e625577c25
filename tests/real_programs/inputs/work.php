<?php
// Work for many extensions. Everything printed is the same in every run.
declare(strict_types=1);
$scale = (int)$argv[1];
$state = 7;
function rnd(int $limit): int {
    global $state;
    $state = ($state * 1103515245 + 12345) & 0x7fffffff;
    return ($state >> 8) % $limit;
}

echo implode(' ', get_loaded_extensions()), "\n";
foreach (['calendar', 'ctype', 'exif', 'FFI', 'fileinfo', 'ftp', 'gettext', 'iconv', 'PDO', 'Phar', 'posix', 'readline', 'shmop',
    'sockets', 'sysvmsg', 'sysvsem', 'sysvshm', 'tokenizer', 'Zend OPcache'] as $name)
    if (!extension_loaded($name)) { fwrite(STDERR, "$name is not loaded\n"); exit(1); }

// Arrays, strings, closures, generators, cycles.
final class Node { public ?Node $next = null; public array $rest = []; public function __construct(public string $name) {} }
function words(int $n): Generator { for ($i = 0; $i < $n; $i++) yield str_repeat(chr(97 + rnd(26)), 1 + rnd(9)) . rnd(50); }
$counts = [];
foreach (words(40000 * $scale) as $word) $counts[$word] = ($counts[$word] ?? 0) + 1;
ksort($counts);
echo count($counts), ' ', hash('sha256', serialize($counts)), ' ', md5(json_encode($counts)), "\n";
for ($round = 0; $round < 20 * $scale; $round++) {
    $nodes = [];
    for ($i = 0; $i < 500; $i++) { $nodes[] = $node = new Node("n$i"); $node->next = $nodes[rnd(count($nodes))]; $node->rest[] = $node; }
    unset($nodes, $node);
}
echo 'cycles ', gc_collect_cycles() >= 0 ? 'collected' : '', "\n";

// Compiled regexps, conversions, what a string is, tokens of this file.
$text = file_get_contents(__FILE__);
echo preg_match_all('/\b([a-z]+)_([a-z]+)\b/', $text, $found), ' ', md5(preg_replace_callback('/\d+/', fn($m) => (string)($m[0] * 2), $text)), "\n";
for ($i = 0; $i < 300 * $scale; $i++) $latin = iconv('UTF-8', 'ISO-8859-1//TRANSLIT', "gr\u{fc}n $i \u{e9}t\u{e9}");
echo bin2hex($latin), ' ', iconv_strlen("gr\u{fc}n"), ' ', ctype_alpha('abc') ? 'letters' : '', "\n";
$info = new finfo(FILEINFO_MIME_TYPE);
echo $info->buffer($text), ' ', $info->buffer("\x89PNG\r\n\x1a\n" . str_repeat("\0", 40)), ' ', $info->buffer("%PDF-1.4\n"), "\n";
for ($i = 0; $i < 5 * $scale; $i++) $tokens = token_get_all($text);
echo count($tokens), ' ', count(PhpToken::tokenize($text)), "\n";

// Compression, an archive made and read, a child, sockets.
$large = str_repeat($text, 20);
foreach (['gzencode', 'gzcompress', 'gzdeflate'] as $pack)
    for ($i = 0; $i < 3 * $scale; $i++) $packed = $pack($large, 1 + $i % 9);
echo md5(gzinflate($packed)) === md5($large) ? 'inflated' : 'not inflated', "\n";
$archive = new PharData('work.tar');
for ($i = 0; $i < 50; $i++) $archive->addFromString("folder/file$i", str_repeat("line $i\n", rnd(500)));
unset($archive);
$sum = hash_init('sha1');
foreach (new RecursiveIteratorIterator(new PharData('work.tar')) as $file) hash_update($sum, $file->getFilename() . $file->getContent());
echo hash_final($sum), "\n";
unlink('work.tar');
socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $pair);
$child = pcntl_fork();
if ($child === 0) {
    foreach (words(1000) as $word) socket_write($pair[1], "$word\n");
    socket_close($pair[1]);
    exit(0);
}
socket_close($pair[1]);
for ($received = ''; ($part = socket_read($pair[0], 8192)) !== '' && $part !== false;) $received .= $part;
pcntl_waitpid($child, $status);
echo md5($received), ' ', pcntl_wexitstatus($status), ' ', posix_strerror(2), "\n";

// Memory of C's malloc, by the C library, by an extension and by the program.
$c = FFI::cdef('void *malloc(size_t n); void free(void *p); char *strdup(const char *s); size_t strlen(const char *s);');
for ($i = 0; $i < 300 * $scale; $i++) {
    $block = $c->malloc($i * 10);
    $copy = $c->strdup(str_repeat('x', $i));
    if ($c->strlen($copy) !== $i) { fwrite(STDERR, "strdup of $i bytes\n"); exit(1); }
    $c->free($block);
    $c->free($copy);
    $own = FFI::new('char[' . ($i + 1) . ']', false, true); // the extension's own malloc and free
    FFI::free($own);
}
echo "FFI\n";
$shared = shmop_open($key = 0x70790000 | (getmypid() & 0xffff), 'c', 0600, 4096);
shmop_write($shared, 'shared', 0);
echo shmop_read($shared, 0, 6), "\n";
shmop_delete($shared);
echo cal_days_in_month(CAL_GREGORIAN, 2, 2024), ' ', jdtogregorian(2451545), ' ', _('untranslated'), "\n";
echo memory_get_peak_usage() > 0 ? "done\n" : '';
