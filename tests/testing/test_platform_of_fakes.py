from modelwright.core import package_codec
from modelwright.core.access import Act
from modelwright.core.version import Lineage
from modelwright.lifecycle import STORIES
from modelwright.testing.platform import in_memory_platform
from modelwright.testing.workflow import InlineSteps


def test_a_story_runs_over_fakes_alone(tmp_path, sum_package):
    platform = in_memory_platform(tmp_path)
    act = Act("ann", "", "register")
    digest = package_codec.store(sum_package("tiny"), platform.blobs.put)
    platform.versions.register("tiny", digest, lineage=Lineage(), verdict={}, act=act)
    arguments = {"model": "tiny", "version": "1", "reason": "a test", "actor": "ann"}
    result = STORIES["promote"](platform, InlineSteps("promote"), arguments)
    assert result["outcome"] == "promoted"
    assert platform.versions.alias("tiny", "champion") == "1"
    assert platform.target.serving.routes["tiny"].arms[0].version == "1"
    assert platform.ledger.verify().verified
