#!/usr/bin/env bash
# huggingface_hub 2.0.0 (Python) over plain HTTP, as it fetches what is not in Xet storage, or anything where HF_HUB_DISABLE_XET is set:
#
#  * It looks at a file's size alone. Other bytes of the same number are kept for good, under the SHA-256 that they should have had.
#  * "Trying to resume download..." begins at the last whole 10 MiB: what is read is handed on in pieces of that size, and what was in the
#    unfinished one is lost. Files below 10 MiB begin anew.
#  * A process that gives up, or is stopped, leaves nothing to go on from: its file has a name of its own and is deleted.
#
# Fails when that changes. Needs Python 3.10 or newer with venv, and the Python package index; all requests go to a server on loopback.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check --only-binary=:all: huggingface_hub==2.0.0
export HF_HOME="$folder/home" HF_HUB_DISABLE_PROGRESS_BARS=1 HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_UPDATE_CHECK=1
cat > try.py <<'SCRIPT'
import glob, hashlib, http.server, os, socket, sys, threading

weights = b"\7" * 100_000
sha256 = hashlib.sha256(weights).hexdigest()
commit = "c" * 40
mode = "wrong"
ranges = []

# A hub with one file. Large files are elsewhere: the hub's answer is a redirect, here to another name of the same host.
class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_HEAD(self):
        self.send_response(302)
        for name, value in {"Location": f"http://localhost:{port}/elsewhere", "X-Repo-Commit": commit, "X-Linked-Etag": f'"{sha256}"',
                            "X-Linked-Size": str(len(weights)), "Content-Length": "0"}.items(): self.send_header(name, value)
        self.end_headers()
    def do_GET(self):
        global mode
        if self.path != "/elsewhere":
            self.send_response(404); self.send_header("Content-Length", "0"); self.end_headers(); return
        asked = self.headers.get("Range")
        ranges.append(asked or "all")
        begin = int(asked.split("=")[1].split("-")[0]) if asked else 0
        part = weights[begin:]
        self.send_response(206 if asked else 200)
        if asked: self.send_header("Content-Range", f"bytes {begin}-{len(weights) - 1}/{len(weights)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if mode == "wrong": self.wfile.write(b"\x08" * len(part))
        elif mode == "cut":
            mode = "right"
            self.wfile.write(part[:60_000]); self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif mode == "gone":
            self.wfile.write(part[:60_000]); self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else: self.wfile.write(part)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{port}"
import huggingface_hub
from huggingface_hub import file_download, hf_hub_download

failed = False
def expect(what, found, expected):
    global failed
    if found == expected: print(f"{what}: {found}")
    else:
        failed = True
        print(f"CHANGED: {what}: {found} (was: {expected})")

fetch = lambda name: hf_hub_download("some/model", "model.safetensors", cache_dir=os.path.join(os.environ["HF_HOME"], name))
kept = os.path.realpath(fetch("wrong"))
expect("the file is named by the SHA-256 that it should have", os.path.basename(kept) == sha256, True)
expect("it has that SHA-256", hashlib.sha256(open(kept, "rb").read()).hexdigest() == sha256, False)

mode = "cut"
ranges.clear()
fetch("cut")
expect("what is asked for after a break at 60,000 bytes", ranges, ["all", "all"])

mode = "gone"
file_download.time.sleep = lambda _: None
try: fetch("gone"); outcome = "fetched"
except Exception as error: outcome = "gives up"
left = glob.glob(os.path.join(os.environ["HF_HOME"], "gone", "*", "blobs", "*"))
expect("a process whose connection breaks again and again, and what it leaves", [outcome, left], ["gives up", []])
sys.exit(1 if failed else 0)
SCRIPT
venv/bin/python try.py 2> errors || { cat errors; exit 1; }
