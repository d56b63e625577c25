#!/usr/bin/env bash
# about: php: arrays, strings, objects, regexps, hashes, XML, archives and compression, in extensions opened with RTLD_DEEPBIND
# needs: php8.2=php8.2-cli
# proves: php8\.2
# timeout: 180
. "$RP_DIR/case.sh"

# Every extension that the package has, and not those alone which this machine's php.ini names.
folder=$(php8.2 -n -r 'echo ini_get("extension_dir");')
extensions=(-d zend_extension=opcache -d opcache.enable_cli=1)
# The order of Debian's own files: pdo and sockets before who needs them.
for name in pdo calendar ctype exif ffi fileinfo ftp gettext iconv phar posix readline shmop sockets sysvmsg sysvsem sysvshm tokenizer; do
    [ -f "$folder/$name.so" ] || die "no extension $name in $folder"
    extensions+=(-d "extension=$name")
done

# By PHP's own allocator, and with each of its blocks from malloc.
for own in 1 0; do
    echo "== USE_ZEND_ALLOC=$own"
    USE_ZEND_ALLOC=$own php8.2 -n "${extensions[@]}" "$RP_DIR/inputs/work.php" "$(pick 1 12)"
done
echo "== as it is configured"
php8.2 "$RP_DIR/inputs/work.php" 1
