"""The messages are the protocol's, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2, service_pb2

from modelwright.interfaces.grpc.messages import _CONFIG, _TABLE, message


def fields(descriptor):
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.full_name if field.message_type else None,
            field.containing_oneof.name if field.containing_oneof else None,
        )
        for field in descriptor.fields
    }


@pytest.mark.parametrize("name", _TABLE)
def test_each_message_has_the_fields_that_a_client_was_compiled_with(name):
    theirs = service_pb2.DESCRIPTOR
    for part in name.split("."):
        theirs = getattr(theirs, "message_types_by_name", None) or theirs.nested_types_by_name
        theirs = theirs[part]
    assert fields(message(name).DESCRIPTOR) == fields(theirs)


@given(
    st.text(max_size=20),
    st.lists(st.binary(max_size=20), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), max_size=3),
)
def test_what_one_side_writes_the_other_reads(name, raw, parameters):
    theirs = service_pb2.ModelInferRequest(model_name=name, raw_input_contents=raw)
    for key, value in parameters.items():
        theirs.parameters[key].int64_param = value
    ours = message("ModelInferRequest").FromString(theirs.SerializeToString())
    assert (ours.model_name, list(ours.raw_input_contents)) == (name, raw)
    assert {key: ours.parameters[key].int64_param for key in ours.parameters} == parameters


@pytest.mark.parametrize("name", _CONFIG)
def test_what_is_said_of_a_configuration_stands_where_a_client_looks_for_it(name):
    theirs = fields(model_config_pb2.DESCRIPTOR.message_types_by_name[name])
    assert fields(message(name).DESCRIPTOR).items() <= theirs.items()


def test_the_datatypes_of_a_configuration_have_the_client_s_numbers():
    ours, theirs = (
        {value.name: value.number for value in file.values}
        for file in (
            message("ModelInput").DESCRIPTOR.fields_by_name["data_type"].enum_type,
            model_config_pb2.DESCRIPTOR.enum_types_by_name["DataType"],
        )
    )
    assert ours == theirs
