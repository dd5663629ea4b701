from mesos_compat.pb.mesos import mesos_pb2 as _mesos_pb2
from mesos_compat.pb.mesos.quota import quota_pb2 as _quota_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[Action]
    REGISTER_FRAMEWORK: _ClassVar[Action]
    REGISTER_FRAMEWORK_WITH_ROLE: _ClassVar[Action]
    RUN_TASK: _ClassVar[Action]
    TEARDOWN_FRAMEWORK: _ClassVar[Action]
    TEARDOWN_FRAMEWORK_WITH_PRINCIPAL: _ClassVar[Action]
    RESERVE_RESOURCES: _ClassVar[Action]
    RESERVE_RESOURCES_WITH_ROLE: _ClassVar[Action]
    UNRESERVE_RESOURCES: _ClassVar[Action]
    UNRESERVE_RESOURCES_WITH_PRINCIPAL: _ClassVar[Action]
    CREATE_VOLUME: _ClassVar[Action]
    CREATE_VOLUME_WITH_ROLE: _ClassVar[Action]
    DESTROY_VOLUME: _ClassVar[Action]
    DESTROY_VOLUME_WITH_PRINCIPAL: _ClassVar[Action]
    GET_ENDPOINT_WITH_PATH: _ClassVar[Action]
    VIEW_ROLE: _ClassVar[Action]
    UPDATE_WEIGHT: _ClassVar[Action]
    UPDATE_WEIGHT_WITH_ROLE: _ClassVar[Action]
    GET_QUOTA: _ClassVar[Action]
    GET_QUOTA_WITH_ROLE: _ClassVar[Action]
    UPDATE_QUOTA: _ClassVar[Action]
    UPDATE_QUOTA_WITH_CONFIG: _ClassVar[Action]
    VIEW_FRAMEWORK: _ClassVar[Action]
    VIEW_TASK: _ClassVar[Action]
    VIEW_EXECUTOR: _ClassVar[Action]
    ACCESS_SANDBOX: _ClassVar[Action]
    ACCESS_MESOS_LOG: _ClassVar[Action]
    VIEW_FLAGS: _ClassVar[Action]
    LAUNCH_NESTED_CONTAINER: _ClassVar[Action]
    KILL_NESTED_CONTAINER: _ClassVar[Action]
    WAIT_NESTED_CONTAINER: _ClassVar[Action]
    LAUNCH_NESTED_CONTAINER_SESSION: _ClassVar[Action]
    ATTACH_CONTAINER_INPUT: _ClassVar[Action]
    ATTACH_CONTAINER_OUTPUT: _ClassVar[Action]
    VIEW_CONTAINER: _ClassVar[Action]
    SET_LOG_LEVEL: _ClassVar[Action]
    REMOVE_NESTED_CONTAINER: _ClassVar[Action]
    REGISTER_AGENT: _ClassVar[Action]
    UPDATE_MAINTENANCE_SCHEDULE: _ClassVar[Action]
    GET_MAINTENANCE_SCHEDULE: _ClassVar[Action]
    START_MAINTENANCE: _ClassVar[Action]
    STOP_MAINTENANCE: _ClassVar[Action]
    GET_MAINTENANCE_STATUS: _ClassVar[Action]
    DRAIN_AGENT: _ClassVar[Action]
    DEACTIVATE_AGENT: _ClassVar[Action]
    REACTIVATE_AGENT: _ClassVar[Action]
    MARK_AGENT_GONE: _ClassVar[Action]
    LAUNCH_STANDALONE_CONTAINER: _ClassVar[Action]
    KILL_STANDALONE_CONTAINER: _ClassVar[Action]
    WAIT_STANDALONE_CONTAINER: _ClassVar[Action]
    REMOVE_STANDALONE_CONTAINER: _ClassVar[Action]
    VIEW_STANDALONE_CONTAINER: _ClassVar[Action]
    MODIFY_RESOURCE_PROVIDER_CONFIG: _ClassVar[Action]
    MARK_RESOURCE_PROVIDER_GONE: _ClassVar[Action]
    VIEW_RESOURCE_PROVIDER: _ClassVar[Action]
    PRUNE_IMAGES: _ClassVar[Action]
    RESIZE_VOLUME: _ClassVar[Action]
    CREATE_BLOCK_DISK: _ClassVar[Action]
    DESTROY_BLOCK_DISK: _ClassVar[Action]
    CREATE_MOUNT_DISK: _ClassVar[Action]
    DESTROY_MOUNT_DISK: _ClassVar[Action]
    DESTROY_RAW_DISK: _ClassVar[Action]
UNKNOWN: Action
REGISTER_FRAMEWORK: Action
REGISTER_FRAMEWORK_WITH_ROLE: Action
RUN_TASK: Action
TEARDOWN_FRAMEWORK: Action
TEARDOWN_FRAMEWORK_WITH_PRINCIPAL: Action
RESERVE_RESOURCES: Action
RESERVE_RESOURCES_WITH_ROLE: Action
UNRESERVE_RESOURCES: Action
UNRESERVE_RESOURCES_WITH_PRINCIPAL: Action
CREATE_VOLUME: Action
CREATE_VOLUME_WITH_ROLE: Action
DESTROY_VOLUME: Action
DESTROY_VOLUME_WITH_PRINCIPAL: Action
GET_ENDPOINT_WITH_PATH: Action
VIEW_ROLE: Action
UPDATE_WEIGHT: Action
UPDATE_WEIGHT_WITH_ROLE: Action
GET_QUOTA: Action
GET_QUOTA_WITH_ROLE: Action
UPDATE_QUOTA: Action
UPDATE_QUOTA_WITH_CONFIG: Action
VIEW_FRAMEWORK: Action
VIEW_TASK: Action
VIEW_EXECUTOR: Action
ACCESS_SANDBOX: Action
ACCESS_MESOS_LOG: Action
VIEW_FLAGS: Action
LAUNCH_NESTED_CONTAINER: Action
KILL_NESTED_CONTAINER: Action
WAIT_NESTED_CONTAINER: Action
LAUNCH_NESTED_CONTAINER_SESSION: Action
ATTACH_CONTAINER_INPUT: Action
ATTACH_CONTAINER_OUTPUT: Action
VIEW_CONTAINER: Action
SET_LOG_LEVEL: Action
REMOVE_NESTED_CONTAINER: Action
REGISTER_AGENT: Action
UPDATE_MAINTENANCE_SCHEDULE: Action
GET_MAINTENANCE_SCHEDULE: Action
START_MAINTENANCE: Action
STOP_MAINTENANCE: Action
GET_MAINTENANCE_STATUS: Action
DRAIN_AGENT: Action
DEACTIVATE_AGENT: Action
REACTIVATE_AGENT: Action
MARK_AGENT_GONE: Action
LAUNCH_STANDALONE_CONTAINER: Action
KILL_STANDALONE_CONTAINER: Action
WAIT_STANDALONE_CONTAINER: Action
REMOVE_STANDALONE_CONTAINER: Action
VIEW_STANDALONE_CONTAINER: Action
MODIFY_RESOURCE_PROVIDER_CONFIG: Action
MARK_RESOURCE_PROVIDER_GONE: Action
VIEW_RESOURCE_PROVIDER: Action
PRUNE_IMAGES: Action
RESIZE_VOLUME: Action
CREATE_BLOCK_DISK: Action
DESTROY_BLOCK_DISK: Action
CREATE_MOUNT_DISK: Action
DESTROY_MOUNT_DISK: Action
DESTROY_RAW_DISK: Action

class Subject(_message.Message):
    __slots__ = ("value", "claims")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CLAIMS_FIELD_NUMBER: _ClassVar[int]
    value: str
    claims: _mesos_pb2.Labels
    def __init__(self, value: _Optional[str] = ..., claims: _Optional[_Union[_mesos_pb2.Labels, _Mapping]] = ...) -> None: ...

class Object(_message.Message):
    __slots__ = ("value", "framework_info", "task", "task_info", "executor_info", "quota_info", "weight_info", "resource", "command_info", "container_id", "machine_id")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FRAMEWORK_INFO_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    TASK_INFO_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_INFO_FIELD_NUMBER: _ClassVar[int]
    QUOTA_INFO_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_INFO_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_INFO_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINE_ID_FIELD_NUMBER: _ClassVar[int]
    value: str
    framework_info: _mesos_pb2.FrameworkInfo
    task: _mesos_pb2.Task
    task_info: _mesos_pb2.TaskInfo
    executor_info: _mesos_pb2.ExecutorInfo
    quota_info: _quota_pb2.QuotaInfo
    weight_info: _mesos_pb2.WeightInfo
    resource: _mesos_pb2.Resource
    command_info: _mesos_pb2.CommandInfo
    container_id: _mesos_pb2.ContainerID
    machine_id: _mesos_pb2.MachineID
    def __init__(self, value: _Optional[str] = ..., framework_info: _Optional[_Union[_mesos_pb2.FrameworkInfo, _Mapping]] = ..., task: _Optional[_Union[_mesos_pb2.Task, _Mapping]] = ..., task_info: _Optional[_Union[_mesos_pb2.TaskInfo, _Mapping]] = ..., executor_info: _Optional[_Union[_mesos_pb2.ExecutorInfo, _Mapping]] = ..., quota_info: _Optional[_Union[_quota_pb2.QuotaInfo, _Mapping]] = ..., weight_info: _Optional[_Union[_mesos_pb2.WeightInfo, _Mapping]] = ..., resource: _Optional[_Union[_mesos_pb2.Resource, _Mapping]] = ..., command_info: _Optional[_Union[_mesos_pb2.CommandInfo, _Mapping]] = ..., container_id: _Optional[_Union[_mesos_pb2.ContainerID, _Mapping]] = ..., machine_id: _Optional[_Union[_mesos_pb2.MachineID, _Mapping]] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("subject", "action", "object")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    subject: Subject
    action: Action
    object: Object
    def __init__(self, subject: _Optional[_Union[Subject, _Mapping]] = ..., action: _Optional[_Union[Action, str]] = ..., object: _Optional[_Union[Object, _Mapping]] = ...) -> None: ...
