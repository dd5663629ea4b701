from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CgroupDeviceAccessState(_message.Message):
    __slots__ = ("allow_list", "deny_list")
    ALLOW_LIST_FIELD_NUMBER: _ClassVar[int]
    DENY_LIST_FIELD_NUMBER: _ClassVar[int]
    allow_list: _containers.RepeatedScalarFieldContainer[str]
    deny_list: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, allow_list: _Optional[_Iterable[str]] = ..., deny_list: _Optional[_Iterable[str]] = ...) -> None: ...

class CgroupDeviceAccessStates(_message.Message):
    __slots__ = ("device_access_per_cgroup",)
    class DeviceAccessPerCgroupEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: CgroupDeviceAccessState
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[CgroupDeviceAccessState, _Mapping]] = ...) -> None: ...
    DEVICE_ACCESS_PER_CGROUP_FIELD_NUMBER: _ClassVar[int]
    device_access_per_cgroup: _containers.MessageMap[str, CgroupDeviceAccessState]
    def __init__(self, device_access_per_cgroup: _Optional[_Mapping[str, CgroupDeviceAccessState]] = ...) -> None: ...
