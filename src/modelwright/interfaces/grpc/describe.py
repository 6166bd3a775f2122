"""Protocol files from tables: messages, enums and services, described at run time (decision 0009)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from modelwright.interfaces.grpc.wire import Stream, Unary

Fields = Sequence[tuple[str, int, str]]
Parse = Callable[[bytes], Any]
Routes = tuple[dict[bytes, Unary], dict[bytes, Stream]]
_FIELD = descriptor_pb2.FieldDescriptorProto
_STREAM = "stream "


@dataclass(frozen=True, slots=True)
class File:
    """One protocol file.

    ``messages`` map a name (``Outer.Inner`` for a nested one) to fields: name, number, kind. A kind with a capital is a
    message or an enum of this file; ``[]`` = repeated, ``{}X`` = map<string, X>, ``|`` = one of the message's only
    oneof, whose name stands in ``oneofs`` where it is not the usual one. ``services`` map a method to its request and
    its response, with ``stream`` before those that are streams.
    """

    name: str
    package: str
    messages: Mapping[str, Fields]
    services: Mapping[str, Mapping[str, tuple[str, str]]]
    enums: Mapping[str, Sequence[str]] = field(default_factory=dict)
    oneofs: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> descriptor_pb2.FileDescriptorProto:
        """The table as a file descriptor."""
        made = descriptor_pb2.FileDescriptorProto(name=self.name, package=self.package, syntax="proto3")
        found: dict[str, descriptor_pb2.DescriptorProto] = {}
        for path, fields in self.messages.items():
            outer, _, name = path.rpartition(".")
            found[path] = (found[outer].nested_type if outer else made.message_type).add(name=name)
            for one in fields:
                self._add(found[path], path, *one)
        for path, values in self.enums.items():
            outer, _, name = path.rpartition(".")
            enum = (found[outer].enum_type if outer else made.enum_type).add(name=name)
            for number, value in enumerate(values):
                enum.value.add(name=value, number=number)
        for service, methods in self.services.items():
            self._serve(made.service.add(name=service), methods)
        return made

    def _add(self, message: descriptor_pb2.DescriptorProto, path: str, name: str, number: int, kind: str) -> None:
        made = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
        if kind.startswith("{}"):
            entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
            self._type(entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL), kind[2:])
            kind = f"[]{path}.{entry.name}"
        if kind.startswith("[]"):
            made.label = _FIELD.LABEL_REPEATED
            kind = kind[2:]
        if kind.startswith("|"):
            if not message.oneof_decl:
                message.oneof_decl.add(name=self.oneofs.get(path, "parameter_choice"))
            made.oneof_index = 0
            kind = kind[1:]
        self._type(made, kind)

    def _type(self, made: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
        if kind[0].isupper():
            made.type = _FIELD.TYPE_ENUM if kind in self.enums else _FIELD.TYPE_MESSAGE
            made.type_name = f".{self.package}.{kind}"
        else:
            made.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")

    def _serve(self, service: descriptor_pb2.ServiceDescriptorProto, methods: Mapping[str, tuple[str, str]]) -> None:
        for name, (request, response) in methods.items():
            service.method.add(
                name=name,
                input_type=f".{self.package}.{request.removeprefix(_STREAM)}",
                output_type=f".{self.package}.{response.removeprefix(_STREAM)}",
                client_streaming=request.startswith(_STREAM),
                server_streaming=response.startswith(_STREAM),
            )

    def routes(
        self, pool: descriptor_pool.DescriptorPool, service: str, calls: Mapping[str, Callable[[Parse], Any]]
    ) -> Routes:
        """A service as the transport wants it, by path. Each call is told how its requests are read."""
        unary: dict[bytes, Unary] = {}
        streams: dict[bytes, Stream] = {}
        for name, (request, response) in self.services[service].items():
            parse = self.message(pool, request.removeprefix(_STREAM)).FromString
            taken = streams if _STREAM in request + response else unary
            taken[f"/{self.package}.{service}/{name}".encode()] = calls[name](parse)
        return unary, streams

    def message(self, pool: descriptor_pool.DescriptorPool, name: str) -> Any:
        """The class of a message of this file."""
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{self.package}.{name}"))
