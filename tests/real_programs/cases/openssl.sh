#!/usr/bin/env bash
# about: openssl: digests, ciphers, signatures with a fixed key, certificates made and verified
# needs: openssl=openssl python3.11=python3.11
# proves: openssl
. "$RP_DIR/case.sh"

"$RP_PYTHON" "$RP_DIR/inputs/generate_data.py" "$(pick 4 60)" >data
for digest in md5 sha1 sha256 sha512 sha3-256 blake2b512 shake256 sm3; do openssl dgst "-$digest" data; done
openssl dgst -sha256 -hmac key data
for cipher in aes-128-cbc aes-256-ctr chacha20 camellia-256-cbc; do
    openssl enc "-$cipher" -pbkdf2 -S 0011223344556677 -pass pass:word -in data -out sealed
    openssl dgst -sha256 sealed
    openssl enc -d "-$cipher" -pbkdf2 -S 0011223344556677 -pass pass:word -in sealed | cmp - data
done
openssl base64 -in data | openssl base64 -d | cmp - data
# An Ed25519 key from a fixed seed: the DER prefix of PKCS #8 and 32 bytes.
printf '302e020100300506032b657004220420%064d' 7 | "$RP_PYTHON" -c \
    'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))' >key.der
openssl pkey -inform DER -in key.der -out key.pem
openssl pkey -in key.pem -pubout | tee public.pem
head -c 100000 data >part
openssl pkeyutl -sign -rawin -inkey key.pem -in part -out signature
sum signature
openssl pkeyutl -verify -rawin -pubin -inkey public.pem -in part -sigfile signature

echo "== random keys, whose use is checked"
openssl genrsa -out rsa.pem 2048 2>>"$RP_LOG"
openssl rsa -in rsa.pem -check -noout 2>&1
openssl req -x509 -new -key rsa.pem -subj "/CN=root/O=test" -days 3000 -out root.pem
openssl ecparam -name prime256v1 -genkey -noout -out leaf.key
openssl req -new -key leaf.key -subj "/CN=leaf" -out leaf.csr
openssl x509 -req -in leaf.csr -CA root.pem -CAkey rsa.pem -CAcreateserial -days 30 -out leaf.pem 2>>"$RP_LOG"
openssl verify -CAfile root.pem leaf.pem
openssl x509 -in leaf.pem -noout -subject -issuer
openssl cms -encrypt -aes256 -in part -binary -out part.cms leaf.pem
openssl cms -decrypt -inkey leaf.key -in part.cms | cmp - part
openssl dhparam -check -in <(openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048 2>>"$RP_LOG") -noout 2>&1
