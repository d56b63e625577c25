"""Takes pictures of pages by headless Chromium, and makes sure that they show something: pictures.py FOLDER PAGE..."""

import os
import struct
import subprocess
import sys
import zlib


def colours(path):
    """Size of a PNG, and how many different pixels it has."""
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    at, packed = 8, b""
    while at < len(data):
        n, name = struct.unpack(">I4s", data[at : at + 8])
        if name == b"IDAT":
            packed += data[at + 8 : at + 8 + n]
        at += 12 + n
    rows = zlib.decompress(packed)
    bytes_of_pixel = {2: 3, 6: 4}[kind]
    assert depth == 8
    # Filtered pixels differ where the picture changes, which is what is asked here.
    return width, height, len({rows[i : i + bytes_of_pixel] for i in range(1, len(rows), bytes_of_pixel)})


folder = os.path.abspath(sys.argv[1])
for page in sys.argv[2:]:
    picture = os.path.join(folder, page.replace(".", "_") + ".png")
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,800",
         f"--screenshot={picture}", f"file://{folder}/{page}"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    width, height, n = colours(picture)
    assert n > 30, f"{page}: the page is blank"
    print(f"{page}: {width} x {height}, {n} colours")
