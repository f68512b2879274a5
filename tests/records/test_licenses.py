"""The normal form of licenses."""

import pytest

from fieldmark.records.licenses import list_license_forms, normalize_license


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("http://creativecommons.org/publicdomain/zero/1.0/legalcode", "CC0"),
        ("CC0_1_0", "CC0"),
        ("https://creativecommons.org/licenses/by/4.0/", "CC BY 4.0"),
        ("//creativecommons.org/licenses/by-nc-sa/4.0/", "CC BY-NC-SA 4.0"),
        ("CC_BY_NC_4_0", "CC BY-NC 4.0"),
        ("cc by 4.0", "CC BY 4.0"),
        ("CC-BY-4.0", "CC BY 4.0"),
        ("CC-BY-NC-ND", "CC BY-NC-ND"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 3.0 Unported", "CC BY-NC-SA 3.0"),
        ("Attribution 4.0 International", "CC BY 4.0"),
        ("All Rights Reserved", "All rights reserved"),
        ("Public Domain", "Public Domain"),
        ("MIT", None),
        ("photo by J. Doe", None),
        ("", None),
    ],
)
def test_license_has_one_form_however_it_is_written(text, form):
    assert normalize_license(text) == form


def test_license_without_a_version_stands_for_all():
    assert {"CC BY", "CC BY 3.0", "CC BY 4.0"} <= list_license_forms("cc-by")
    assert list_license_forms("https://creativecommons.org/licenses/by/4.0/") == {"CC BY 4.0"}
    assert list_license_forms("My  Own Terms") == {"my own terms"}
