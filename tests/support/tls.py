"""TLS in front of a server that has none: a certificate of the test's own, and a relay."""

import contextlib
import socket
import ssl
import threading

import trustme


@contextlib.contextmanager
def tls_before(port, directory):
    """Gives the port of the relay, and the file of the authority that vouches for it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    trusted = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=relay, args=(raw,), daemon=True).start()

    def relay(raw):
        with contextlib.suppress(OSError), raw:
            with (
                context.wrap_socket(raw, server_side=True) as near,
                socket.create_connection(("127.0.0.1", port)) as far,
            ):
                back = threading.Thread(target=pump, args=(far, near), daemon=True)
                back.start()
                pump(near, far)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], trusted
    finally:
        listener.close()


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
