from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FetcherInfo(_message.Message):
    __slots__ = ("sandbox_directory", "cache_directory", "items", "user", "frameworks_home", "stall_timeout")
    class Item(_message.Message):
        __slots__ = ("uri", "action", "cache_filename")
        class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            BYPASS_CACHE: _ClassVar[FetcherInfo.Item.Action]
            DOWNLOAD_AND_CACHE: _ClassVar[FetcherInfo.Item.Action]
            RETRIEVE_FROM_CACHE: _ClassVar[FetcherInfo.Item.Action]
        BYPASS_CACHE: FetcherInfo.Item.Action
        DOWNLOAD_AND_CACHE: FetcherInfo.Item.Action
        RETRIEVE_FROM_CACHE: FetcherInfo.Item.Action
        URI_FIELD_NUMBER: _ClassVar[int]
        ACTION_FIELD_NUMBER: _ClassVar[int]
        CACHE_FILENAME_FIELD_NUMBER: _ClassVar[int]
        uri: _mesos_pb2.CommandInfo.URI
        action: FetcherInfo.Item.Action
        cache_filename: str
        def __init__(self, uri: _Optional[_Union[_mesos_pb2.CommandInfo.URI, _Mapping]] = ..., action: _Optional[_Union[FetcherInfo.Item.Action, str]] = ..., cache_filename: _Optional[str] = ...) -> None: ...
    SANDBOX_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    CACHE_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORKS_HOME_FIELD_NUMBER: _ClassVar[int]
    STALL_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    sandbox_directory: str
    cache_directory: str
    items: _containers.RepeatedCompositeFieldContainer[FetcherInfo.Item]
    user: str
    frameworks_home: str
    stall_timeout: _mesos_pb2.DurationInfo
    def __init__(self, sandbox_directory: _Optional[str] = ..., cache_directory: _Optional[str] = ..., items: _Optional[_Iterable[_Union[FetcherInfo.Item, _Mapping]]] = ..., user: _Optional[str] = ..., frameworks_home: _Optional[str] = ..., stall_timeout: _Optional[_Union[_mesos_pb2.DurationInfo, _Mapping]] = ...) -> None: ...
