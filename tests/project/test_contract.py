"""What views take and give is held to their types, whatever SpecTree does by itself."""

import shutil

from conftest import ROOT, Render, assert_green


def test_each_pitfall_of_spectree(render: Render) -> None:
    """Each is a test with a name of its own, which runs in a project."""
    project = render(extras=["database"])
    shutil.copy(ROOT / "tests/helpers/pitfalls.py", project / "tests/test_pitfalls.py")
    assert_green(project, "tests/test_pitfalls.py")
