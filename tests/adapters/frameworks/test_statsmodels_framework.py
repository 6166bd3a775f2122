import joblib
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import modelwright
from modelwright.adapters.frameworks.pickled_object import StatsmodelsFramework
from modelwright.features.tabular import table
from modelwright.testing.errors import error_code
from modelwright.testing.framework import FrameworkConformance

RANDOM = np.random.default_rng(5)
COUNT = 90
DATA = pd.DataFrame(
    {"a": RANDOM.normal(size=COUNT), "b": RANDOM.normal(size=COUNT), "town": RANDOM.choice(["Ulm", "Bern"], COUNT)}
)
DATA["y"] = DATA["a"] * 2 - DATA["b"] + RANDOM.normal(size=COUNT)
DATA["late"] = (DATA["y"] > 0).astype(int)
DATA["count"] = RANDOM.poisson(np.exp(0.3 * DATA["a"]))
DATA["level"] = RANDOM.integers(0, 3, COUNT)
ROWS = DATA[["a", "b", "town"]]
WITH_CONSTANT = sm.add_constant(DATA[["a", "b"]])

GRAPHS = {
    "OLS of a matrix": lambda: sm.OLS(DATA["y"], WITH_CONSTANT).fit(),
    "OLS of an array without names": lambda: sm.OLS(DATA["y"].to_numpy(), WITH_CONSTANT.to_numpy()).fit(),
    "OLS without a constant": lambda: sm.OLS(DATA["y"], DATA[["b", "a"]]).fit(),
    "OLS of a formula": lambda: smf.ols("y ~ b + a", DATA).fit(),
    "robust": lambda: sm.RLM(DATA["y"], WITH_CONSTANT).fit(),
    "quantile": lambda: smf.quantreg("y ~ a", DATA).fit(),
    "Poisson": lambda: smf.poisson("count ~ a + b", DATA).fit(disp=0),
    "GLM with a log": lambda: smf.glm("count ~ a", DATA, family=sm.families.Poisson()).fit(),
    "logit": lambda: smf.logit("late ~ a", DATA).fit(disp=0),
    "GLM of a binary response": lambda: sm.GLM(
        DATA["late"], WITH_CONSTANT[["const", "a"]], sm.families.Binomial()
    ).fit(),
}
CODE = {
    "a formula of functions and text": (lambda: smf.ols("y ~ np.exp(a) + C(town)", DATA).fit(), "made from columns"),
    "probit": (lambda: smf.probit("late ~ a", DATA).fit(disp=0), "link"),
    "multinomial": (lambda: smf.mnlogit("level ~ a + b", DATA).fit(disp=0), "link"),
    "an inverse link": (lambda: sm.GLM(DATA["count"] + 1, WITH_CONSTANT, sm.families.Gamma()).fit(), "link"),
}


def rows_for(made):
    return DATA[["a", "b"]] if "array" in made else ROWS


def expected(results):
    if getattr(results.model, "formula", None):
        return np.asarray(results.predict(DATA))
    return np.asarray(results.predict())


class TestStatsmodelsFramework(FrameworkConformance):
    @pytest.fixture
    def framework(self):
        return StatsmodelsFramework()

    @pytest.fixture(params=["logit", "probit"])
    def model(self, request):
        return (GRAPHS | {"probit": CODE["probit"][0]})[request.param]()

    @pytest.fixture
    def examples(self):
        return table(ROWS)

    @pytest.fixture
    def strangers(self):
        return (1, "statsmodels", object(), DATA)


@pytest.mark.parametrize("made", GRAPHS)
def test_one_layer_and_its_link_become_a_graph_with_the_same_answers(made):
    results = GRAPHS[made]()
    packed = modelwright.pack(results, name="m", examples=rows_for(made))
    assert packed.package.description.route == "onnx"
    assert packed.package.parity.max_difference < 1e-12
    found = packed.predict(rows_for(made))
    values = found["probabilities"][:, 1] if "probabilities" in found else found["prediction"]
    np.testing.assert_allclose(values, expected(results), rtol=1e-12)


@pytest.mark.parametrize("made", CODE)
def test_what_is_no_single_layer_stays_code_and_says_why(made):
    make, why = CODE[made]
    results = make()
    packed = modelwright.pack(results, name="m", examples=ROWS)
    assert packed.package.native.loader == "statsmodels"
    assert why in packed.package.description.notes["route"]
    found, wanted = packed.predict(ROWS), expected(results)
    values = found.get("probabilities", found.get("prediction"))
    np.testing.assert_allclose(values[:, 1] if values.ndim == 2 and wanted.ndim == 1 else values, wanted)


def test_a_response_of_two_levels_has_probabilities_and_labels():
    signature = modelwright.pack(GRAPHS["logit"](), name="m", examples=ROWS).package.signature
    assert (signature.task, signature.classes, signature.score_output) == ("binary", ("0", "1"), "probabilities")
    assert [feature.name for feature in signature.features] == ["a"]


@pytest.mark.parametrize("suffix", [".statsmodels", ".pkl", ".joblib"])
def test_files_are_opened_in_the_jail_by_their_family(tmp_path, suffix):
    results, file = GRAPHS["OLS of a formula"](), tmp_path / f"model{suffix}"
    if suffix == ".joblib":
        joblib.dump(results, file)
    else:
        results.save(str(file))
    packed = modelwright.pack(file, name="m", examples=ROWS)
    assert packed.package.description.framework == "statsmodels"
    assert packed.package.description.notes["isolation"].startswith("own process")


def test_what_cannot_be_packed_is_refused_in_words(tmp_path):
    results = GRAPHS["OLS of a matrix"]()
    model = smf.ols("y ~ a", DATA)
    assert error_code(modelwright.pack, model, name="m", examples=ROWS) == "pack.unsupported-model"
    assert error_code(modelwright.pack, results, name="m", examples=ROWS[["a"]]) == "pack.missing-column"
    probit = CODE["probit"][0]()
    assert error_code(modelwright.pack, probit, name="m", examples=ROWS, native=False) == "pack.unconvertible"
    (tmp_path / "m.statsmodels").write_bytes(b"no pickle")
    assert error_code(modelwright.pack, tmp_path / "m.statsmodels", name="m", examples=ROWS) == "pack.unreadable-model"
    past = sm.tsa.AutoReg(DATA["y"], 2).fit()
    assert error_code(modelwright.pack, past, name="m", examples=ROWS) == "pack.unsupported-model"
