"""Decodes PNG images by the format's own rules and makes sure that they show something: images.py FILE…"""

import struct
import sys
import zlib


def decoded(path):
    """Width, height and rows of pixels of an image with 8 bits a channel, red, green, blue and perhaps alpha."""
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", path
    at, packed, head = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert zlib.crc32(kind + body) == checksum, (path, kind)
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    assert kind == b"IEND" and at == len(data), path
    width, height, depth, colour, _, _, interlaced = head
    assert depth == 8 and colour in (2, 6) and not interlaced, head
    channels = 3 if colour == 2 else 4
    raw, stride = zlib.decompress(packed), width * channels
    assert len(raw) == (stride + 1) * height
    rows, before = [], bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        kind, row = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        for x in range(stride):
            left = row[x - channels] if x >= channels else 0
            up = before[x]
            corner = before[x - channels] if x >= channels else 0
            if kind == 1:
                row[x] = (row[x] + left) & 255
            elif kind == 2:
                row[x] = (row[x] + up) & 255
            elif kind == 3:
                row[x] = (row[x] + (left + up) // 2) & 255
            elif kind == 4:
                guess = left + up - corner
                nearest = min((left, up, corner), key=lambda value: abs(guess - value))
                row[x] = (row[x] + nearest) & 255
        rows.append([tuple(row[x : x + 3]) for x in range(0, stride, channels)])
        before = row
    return width, height, rows


for path in sys.argv[1:]:
    width, height, rows = decoded(path)
    counts = {}
    for row in rows:
        for pixel in row:
            counts[pixel] = counts.get(pixel, 0) + 1
    dark = sum(count for pixel, count in counts.items() if max(pixel) < 60)
    coloured = sum(count for pixel, count in counts.items() if max(pixel) - min(pixel) > 60)
    assert width >= 900 and height >= 100 and dark > 200 and coloured > 200, (path, width, height, dark, coloured)
    print(f"{path}: {width} by {height} pixels, {len(counts)} colours")
