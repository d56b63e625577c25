"""Opens files in the viewers they are made for, by headless Chromium: viewers.py FOLDER DHAT SPEEDSCOPE [NPM]"""

import base64
import glob
import os
import shutil
import subprocess
import sys


def chromium(*words):
    return subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--enable-unsafe-swiftshader", "--virtual-time-budget=20000", "--window-size=1200,800", *words],
        check=True, capture_output=True, text=True,
    ).stdout


folder, dhat, scope, npm = (sys.argv + [""])[1:5]
folder = os.path.abspath(folder)

viewer = glob.glob("/usr/lib*/valgrind/dh_view.html") + glob.glob("/usr/libexec/valgrind/dh_view.html")
if viewer:
    for ending in ("js", "css"):
        shutil.copy(viewer[0][: -len("html")] + ending, folder)
    # What the page does with a file that was chosen.
    load = f"gFilename = 'x'; gData = JSON.parse({open(os.path.join(folder, dhat)).read()!r}); buildTree(); displayTree();"
    page = open(viewer[0]).read().replace(
        "</body>", "<script src='dhat_file.js'></script></body>"
    )
    with open(os.path.join(folder, "dhat_file.js"), "w") as script:
        script.write(f"window.addEventListener('load', () => tryFunc(() => {{ {load} }}));")
    with open(os.path.join(folder, "dhat_view.html"), "w") as out:
        out.write(page)
    seen = chromium("--dump-dom", f"file://{folder}/dhat_view.html")
    assert "AP 1.1" in seen or "PP 1.1" in seen, seen[-3000:]
    assert 'class="error"' not in seen
    chromium(f"--screenshot={folder}/dhat_view.png", f"file://{folder}/dhat_view.html")
    print("dh_view.html shows the tree")
else:
    print("dh_view.html is not installed (valgrind)")

release = os.path.join(npm, "node_modules/speedscope/dist/release")
if npm and os.path.isdir(release):
    # As speedscope's own command does.
    data = base64.b64encode(open(os.path.join(folder, scope), "rb").read()).decode()
    with open(os.path.join(folder, "scope_file.js"), "w") as script:
        script.write(f"speedscope.loadFileFromBase64('profile.json', '{data}')")
    address = f"file://{release}/index.html#localProfilePath={folder}/scope_file.js"
    seen = chromium("--dump-dom", address)
    assert "Something went wrong" not in seen and "Time Order" in seen, seen[-3000:]
    chromium(f"--screenshot={folder}/speedscope.png", address)
    print("speedscope shows the profile")
