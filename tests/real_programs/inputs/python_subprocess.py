import hashlib
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

rounds = int(sys.argv[1])


def through(command, data):
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def one(number):
    data = random.Random(number).randbytes(30_000)
    out = through(["cat"], data)
    assert out == data
    return hashlib.sha256(through(["sort", "-z"], out)).hexdigest()


with ThreadPoolExecutor(6) as pool:
    print("threads that spawn", hashlib.sha256("".join(pool.map(one, range(rounds * 4))).encode()).hexdigest())

for number in range(rounds):
    # preexec_fn runs Python, and so malloc, between fork and exec.
    child = subprocess.Popen(["sh", "-c", "echo $0; pwd | wc -l; umask", str(number)], stdout=subprocess.PIPE,
                             preexec_fn=lambda: (os.umask(0o027), [bytes(n) for n in range(2000)]), text=True)
    print(child.communicate()[0].split(), child.returncode)

first = subprocess.Popen(["seq", "200000"], stdout=subprocess.PIPE)
second = subprocess.Popen(["awk", "{ s += $1 } END { print s, NR }"], stdin=first.stdout, stdout=subprocess.PIPE, text=True)
first.stdout.close()
print("pipe", second.communicate()[0].strip(), first.wait())

program = "import sys; d = sys.stdin.buffer.read(); sys.stdout.write(str(len(d))); sys.stderr.write('e' * 70000); sys.exit(7)"
ended = subprocess.run([sys.executable, "-c", program], input=b"z" * 3_000_000, capture_output=True)
print("python in python", ended.stdout, len(ended.stderr), ended.returncode)
ended = subprocess.run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
print("killed", ended.returncode == -signal.SIGKILL)
read, write = os.pipe()
subprocess.run(["sh", "-c", f"echo through the pipe >&{write}"], pass_fds=(write,), check=True)
os.close(write)
print(os.read(read, 100))
try:
    subprocess.run(["sleep", "60"], timeout=0.2)
except subprocess.TimeoutExpired as error:
    print("timeout", error.cmd)
try:
    subprocess.run(["/nonexistent/program"])
except FileNotFoundError as error:
    print(error)
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], os.environ)
print("posix_spawn", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("environment", subprocess.run(["env"], env={"A": "b" * 1000}, capture_output=True).stdout == b"A=" + b"b" * 1000 + b"\n")
