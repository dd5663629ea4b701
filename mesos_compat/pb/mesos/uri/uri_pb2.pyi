from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class URI(_message.Message):
    __slots__ = ("scheme", "user", "password", "host", "port", "path", "query", "fragment")
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    scheme: str
    user: str
    password: str
    host: str
    port: int
    path: str
    query: str
    fragment: str
    def __init__(self, scheme: _Optional[str] = ..., user: _Optional[str] = ..., password: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., path: _Optional[str] = ..., query: _Optional[str] = ..., fragment: _Optional[str] = ...) -> None: ...
