"""The GCS emulator, mended in two places.

It reads an upload as an e-mail, and so loses a last carriage return: of the files that end with a
checksum, one in 256 ends with that byte. And it lets five connections wait; the client opens more,
and tries each that was refused again after a second.
"""

import sys
from email.message import Message
from email.parser import BytesParser
from http.server import HTTPServer

from gcp_storage_emulator import server
from gcp_storage_emulator.__main__ import main


class Exact(BytesParser):
    """Of ``multipart/related``, as gcsfs sends it: lines end with a line feed."""

    def parsebytes(self, text, headersonly=False):
        message = super().parsebytes(text, headersonly)
        if message.get_content_type() != "multipart/related":
            return message
        line = b"\n--" + message.get_boundary().encode()
        _, _, second = text.partition(b"\n\n")[2].partition(line)  # the first part: a description
        content = second.partition(b"\n\n")[2].removesuffix(line + b"--")
        message.get_payload()[1] = Content(content, message.get_payload()[1].get_content_type())
        return message


class Content(Message):
    """A part that is not decoded."""

    def __init__(self, content, kind):
        super().__init__()
        self._content = content
        self["Content-Type"] = kind

    def get_payload(self, i=None, decode=False):
        return self._content


if __name__ == "__main__":
    server.BytesParser = Exact
    HTTPServer.request_queue_size = 128
    sys.exit(main())
