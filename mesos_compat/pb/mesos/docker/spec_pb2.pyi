from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ImageReference(_message.Message):
    __slots__ = ("registry", "repository", "tag", "digest")
    REGISTRY_FIELD_NUMBER: _ClassVar[int]
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    registry: str
    repository: str
    tag: str
    digest: str
    def __init__(self, registry: _Optional[str] = ..., repository: _Optional[str] = ..., tag: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ()
    class Auth(_message.Message):
        __slots__ = ("auth", "email")
        AUTH_FIELD_NUMBER: _ClassVar[int]
        EMAIL_FIELD_NUMBER: _ClassVar[int]
        auth: str
        email: str
        def __init__(self, auth: _Optional[str] = ..., email: _Optional[str] = ...) -> None: ...
    def __init__(self) -> None: ...
