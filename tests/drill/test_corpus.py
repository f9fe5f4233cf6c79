"""The documents are the standard library's own."""

import heapq
import inspect

from firedoor.drill.corpus import EXCERPT_CHARACTERS, MODULES, read_corpus


def test_documents_are_the_docstrings_of_this_python():
    """A document's text is what `help` would say, from its beginning."""
    documents = {one.id: one.text for one in read_corpus()}
    assert documents["heapq.heappush"] == inspect.getdoc(heapq.heappush)
    assert len(documents) > 1500
    assert {id.split(".")[0] for id in documents} > {"csv", "json", "os", "re", "urllib"}


def test_methods_are_documents_of_their_own():
    assert "collections.Counter.most_common" in {one.id for one in read_corpus(["collections"])}


def test_names_a_module_only_imports_are_not_its_documents():
    """`textwrap` imports `re`; `re.compile` is not a document of textwrap."""
    ids = {one.id for one in read_corpus(["textwrap"])}
    assert "textwrap.fill" in ids
    assert all(id.startswith("textwrap.") for id in ids)
    assert "shutil.nt" not in {one.id for one in read_corpus(["shutil"])}


def test_ids_do_not_depend_on_the_platform():
    """`os.path.join` is `posixpath.join` or `ntpath.join` underneath."""
    assert "os.path.join" in {one.id for one in read_corpus(["os.path"])}


def test_long_docstrings_are_cut_at_a_word():
    for one in read_corpus(["argparse", "subprocess"]):
        assert len(one.text) <= EXCERPT_CHARACTERS + 2
        assert one.text.strip()


def test_the_order_is_stable_and_ids_are_unique():
    first, second = read_corpus(MODULES), read_corpus(MODULES)
    assert first == second
    assert len({one.id for one in first}) == len(first)


def test_a_module_this_python_lacks_is_left_out():
    assert read_corpus(["heapq", "no_such_module"]) == read_corpus(["heapq"])
