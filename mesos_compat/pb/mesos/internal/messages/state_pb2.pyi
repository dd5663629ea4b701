from mesos_compat.pb.mesos.state import state_pb2 as _state_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Operation(_message.Message):
    __slots__ = ("type", "snapshot", "diff", "expunge")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SNAPSHOT: _ClassVar[Operation.Type]
        DIFF: _ClassVar[Operation.Type]
        EXPUNGE: _ClassVar[Operation.Type]
    SNAPSHOT: Operation.Type
    DIFF: Operation.Type
    EXPUNGE: Operation.Type
    class Snapshot(_message.Message):
        __slots__ = ("entry",)
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        entry: _state_pb2.Entry
        def __init__(self, entry: _Optional[_Union[_state_pb2.Entry, _Mapping]] = ...) -> None: ...
    class Diff(_message.Message):
        __slots__ = ("entry",)
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        entry: _state_pb2.Entry
        def __init__(self, entry: _Optional[_Union[_state_pb2.Entry, _Mapping]] = ...) -> None: ...
    class Expunge(_message.Message):
        __slots__ = ("name",)
        NAME_FIELD_NUMBER: _ClassVar[int]
        name: str
        def __init__(self, name: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    EXPUNGE_FIELD_NUMBER: _ClassVar[int]
    type: Operation.Type
    snapshot: Operation.Snapshot
    diff: Operation.Diff
    expunge: Operation.Expunge
    def __init__(self, type: _Optional[_Union[Operation.Type, str]] = ..., snapshot: _Optional[_Union[Operation.Snapshot, _Mapping]] = ..., diff: _Optional[_Union[Operation.Diff, _Mapping]] = ..., expunge: _Optional[_Union[Operation.Expunge, _Mapping]] = ...) -> None: ...
