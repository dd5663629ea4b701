# SPDX-License-Identifier: Apache-2.0
"""The descriptor pool of our generated messages, apart from the process-wide default pool."""

from google.protobuf import descriptor_pb2, duration_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
for _file in (duration_pb2.DESCRIPTOR,):
    _copy = descriptor_pb2.FileDescriptorProto()
    _file.CopyToProto(_copy)
    POOL.Add(_copy)
