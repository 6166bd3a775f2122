import time
from pathlib import Path

import pytest

from modelwright.adapters.trainers.recipe import RecipeTrainer
from modelwright.core.errors import DeadlineError, RefusedError
from modelwright.testing.trainer import RECIPE, TrainerConformance, recipe_in


@pytest.fixture
def trainer():
    return RecipeTrainer()


class TestRecipeTrainer(TrainerConformance):
    def test_two_parts_hold_the_last_fifth_of_the_rows_out(self, trainer, tmp_path):
        import duckdb

        trained = trainer.train(recipe_in(tmp_path, RECIPE), recorded=None, work=tmp_path / "work")
        read = lambda path: duckdb.read_parquet(str(path)).fetchnumpy()  # noqa: E731
        assert (len(read(trained.reference)["a"]), len(read(trained.validation)["a"])) == (80, 20)
        assert list(read(trained.validation)["a"]) == list(range(80, 100))
        assert set(read(trained.validation)) == {"a", "b", "y"}

    def test_arrays_without_names_are_written_too(self, trainer, tmp_path):
        import duckdb

        text = RECIPE.replace("return frame, label", "return frame.to_numpy(), label.to_numpy()")
        trained = trainer.train(recipe_in(tmp_path, text), recorded=None, work=tmp_path / "work")
        assert set(duckdb.read_parquet(str(trained.validation)).columns) == {"x0", "x1", "y"}

    def test_the_same_request_is_not_trained_twice(self, trainer, tmp_path):
        text = RECIPE + "\nopen('runs.txt', 'a').write('x')\n"
        recipe = recipe_in(tmp_path, text)
        first = trainer.train(recipe, recorded=None, work=tmp_path / "work")
        assert trainer.train(recipe, recorded=None, work=tmp_path / "work") == first
        assert (tmp_path / "runs.txt").read_text() == "x"

    def test_a_result_cut_short_is_made_again(self, trainer, tmp_path):
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "model.joblib").write_bytes(b"half")
        trained = trainer.train(recipe_in(tmp_path, RECIPE), recorded=None, work=tmp_path / "work")
        assert trained.model.stat().st_size > 100

    def test_a_result_that_a_loss_of_power_cut_short_is_made_again(self, trainer, tmp_path):
        recipe = recipe_in(tmp_path, RECIPE)
        trainer.train(recipe, recorded=None, work=tmp_path / "work")
        (tmp_path / "work" / "result.json").write_text("")
        assert trainer.train(recipe, recorded=None, work=tmp_path / "work").rows == 80

    def test_a_recipe_that_ends_its_process_without_a_result_is_refused(self, trainer, tmp_path):
        text = RECIPE.replace("return frame, label", "import os; os._exit(0)")
        with pytest.raises(RefusedError, match="exit code 0") as caught:
            trainer.train(recipe_in(tmp_path, text), recorded=None, work=tmp_path / "work")
        assert caught.value.code == "retrain.recipe-failed"

    def test_the_last_lines_of_the_output_are_quoted(self, trainer, tmp_path):
        text = RECIPE.replace("return frame, label", "print('loading'); raise ValueError('no such table')")
        with pytest.raises(RefusedError, match="no such table") as caught:
            trainer.train(recipe_in(tmp_path, text), recorded=None, work=tmp_path / "work")
        assert caught.value.code == "retrain.recipe-failed"
        assert not (tmp_path / "work").exists()
        assert "loading" in (tmp_path / "work.log").read_text()

    def test_a_recipe_that_takes_too_long_is_stopped_with_all_it_started(self, trainer, tmp_path):
        text = RECIPE.replace(
            "return frame, label",
            "import os, subprocess, time\n"
            "    child = subprocess.Popen(['sleep', '60'])\n"
            "    open('pids.txt', 'w').write(f'{os.getpid()} {child.pid}')\n"
            "    time.sleep(60)",
        )
        with pytest.raises(DeadlineError) as caught:
            trainer.train(recipe_in(tmp_path, text, timeout_seconds=8), recorded=None, work=tmp_path / "work")
        assert caught.value.code == "retrain.recipe-timeout"
        for pid in (tmp_path / "pids.txt").read_text().split():
            deadline = time.monotonic() + 10
            while _runs(int(pid)) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not _runs(int(pid))

    @pytest.mark.parametrize(
        ("returned", "words"),
        [
            ("return frame", "load returned DataFrame"),
            ("return frame, label, frame", "of 3 values"),
            ("return frame, label[:5]", "100 rows and 5 labels"),
            ("return frame.assign(y=1), label", "target column"),
        ],
    )
    def test_a_wrong_shape_is_told(self, trainer, tmp_path, returned, words):
        recipe = recipe_in(tmp_path, RECIPE.replace("return frame, label", returned))
        with pytest.raises(RefusedError, match=words) as caught:
            trainer.train(recipe, recorded=None, work=tmp_path / "work")
        assert caught.value.code == "retrain.recipe-shape"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
