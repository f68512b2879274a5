"""Look up the files that a list or table of others names."""

from pathlib import Path, PurePosixPath


def is_outside_root(path: str) -> bool:
    """Tell whether a path leads out of the folder it should be in; symbolic links inside are allowed."""
    parts = PurePosixPath(path).parts
    return "\0" in path or path.startswith(("/", "\\")) or ".." in parts or "\\" in path or path[1:2] == ":"


class FolderListing:
    """The names of the files under a root; each folder is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, frozenset[str]] = {}

    def has(self, path: str) -> bool:
        """Tell whether there is a file or folder at a path relative to the root."""
        file = self.root / path
        return file.name in self.list_names(file.parent)

    def list_names(self, folder: Path) -> frozenset[str]:
        """Return the names in a folder; none if it is missing or cannot be read."""
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(each.name for each in folder.iterdir())
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]
