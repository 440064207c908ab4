"""Owns the process: `python -m tests.fake_bitbucket` makes a CA, listens, says where in one JSON line, and waits."""

import argparse
import json
import os
import shutil
import signal
import socketserver
import ssl
import sys
import threading

import trustme

from tests.fake_bitbucket.control import Control, perform
from tests.fake_bitbucket.proxy import Proxy
from tests.fake_bitbucket.server import Server
from tests.fake_bitbucket.state import State

# Names in the certificate: where it listens, where it is in the network of a test's own, and the real ones, for clients
# that come through the proxy.
NAMES = ("127.0.0.1", "localhost", "::1", "10.77.0.1", "bitbucket.org", "api.bitbucket.org")


def main() -> None:
    """Run until SIGTERM, SIGINT or, with --until-eof, the end of stdin."""
    options = _options()
    os.umask(0o077)
    os.makedirs(options.root, mode=0o700, exist_ok=True)
    state = State(os.path.abspath(options.root))
    context, ca_file = _tls(state.root)
    web = Server(options.port, "web", state, context)
    api = Server(options.api_port, "api", state, context)
    data_center = Server(options.data_center_port, "data-center", state, context)
    state.web_url = f"https://127.0.0.1:{web.server_address[1]}"
    state.api_url = f"https://127.0.0.1:{api.server_address[1]}/2.0"
    state.data_center_origin = f"https://127.0.0.1:{data_center.server_address[1]}"
    proxy = Proxy(options.proxy_port, state, _ways(web.server_address[1], api.server_address[1]))
    control = Control(os.path.join(state.root, "control"), state)
    _configure(control, options.config)
    for listener in (web, api, data_center, proxy, control):
        _serve(listener)
    ready = {
        "pid": os.getpid(),
        "url": state.web_url,
        "port": web.server_address[1],
        "api_url": state.api_url,
        "api_port": api.server_address[1],
        "data_center_origin": state.data_center_origin,
        "proxy_url": f"http://127.0.0.1:{proxy.server_address[1]}",
        "ca_file": ca_file,
        "control": os.path.join(state.root, "control"),
    }
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if options.until_eof:
        threading.Thread(target=_at_eof, args=(ended,), daemon=True).start()
    print(json.dumps(ready), flush=True)  # noqa: T201 - the line that says it is ready
    ended.wait()
    state.faults.release()
    if options.remove_root:
        shutil.rmtree(state.root, ignore_errors=True)
    # Threads may hold requests; there is nothing left that they could lose.
    sys.stdout.flush()
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_bitbucket", description="A local Bitbucket Cloud.")
    parser.add_argument("--port", type=int, default=0, help="the web host's port; 0 takes a free one")
    parser.add_argument("--api-port", type=int, default=0, help="the API host's port")
    parser.add_argument("--data-center-port", type=int, default=0, help="the port of the Data Center beside it")
    parser.add_argument("--proxy-port", type=int, default=0, help="the forward proxy's port")
    parser.add_argument("--root", required=True, help="where repositories, LFS objects, CA and control socket go")
    parser.add_argument("--config", help="JSON: {'knobs': {...}, 'actions': [{'action': ...}, ...]}")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin does: when a parent dies")
    parser.add_argument("--remove-root", action="store_true", help="remove the directory at the end")
    return parser.parse_args()


def _tls(root: str) -> tuple[ssl.SSLContext, str]:
    authority = trustme.CA()
    ca_file = os.path.join(root, "ca.pem")
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert(*NAMES).configure_cert(context)
    return context, ca_file


def _ways(web_port: int, api_port: int) -> dict[str, int]:
    ways = {"bitbucket.org:443": web_port, "api.bitbucket.org:443": api_port}
    ways.update({f"127.0.0.1:{port}": port for port in (web_port, api_port)})
    return ways


def _configure(control: Control, path: str | None) -> None:
    if path is None:
        return
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    control.actions.turn(**document.get("knobs", {}))
    for line in document.get("actions", []):
        perform(control.actions, line)


def _serve(listener: socketserver.BaseServer) -> None:
    threading.Thread(target=listener.serve_forever, daemon=True).start()


def _at_eof(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()


if __name__ == "__main__":
    main()
