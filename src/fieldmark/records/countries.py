"""Codes of countries, from the names that exports of portals write."""

from functools import cache

from iso3166 import countries

from fieldmark.records.columns import fold_text

_OTHER_NAMES = {
    "US": "usa|united states|u.s.a.|us|america",
    "GB": "uk|united kingdom|great britain|england|scotland|wales|northern ireland",
    "RU": "russia",
    "BO": "bolivia",
    "VE": "venezuela",
    "TZ": "tanzania",
    "VN": "vietnam",
    "LA": "laos",
    "KR": "south korea|korea",
    "KP": "north korea",
    "IR": "iran",
    "SY": "syria",
    "TW": "taiwan",
    "CZ": "czech republic|czechia",
    "CV": "cape verde",
    "CI": "ivory coast|cote d'ivoire",
    "CD": "democratic republic of the congo|congo (kinshasa)|dr congo",
    "CG": "republic of the congo|congo (brazzaville)",
    "SZ": "swaziland|eswatini",
    "MK": "macedonia|north macedonia",
    "MD": "moldova",
    "BN": "brunei",
    "FM": "micronesia",
    "FK": "falkland islands",
    "PS": "palestine",
    "NL": "netherlands|the netherlands|holland",
    "TR": "turkey|turkiye",
    "VG": "british virgin islands",
    "VI": "us virgin islands",
    "GM": "gambia|the gambia",
    "BS": "bahamas|the bahamas",
    "MM": "myanmar|burma",
    "ST": "sao tome and principe",
    "SH": "saint helena",
    "TL": "east timor|timor-leste",
}
"""Names in use beside those of ISO 3166."""


@cache
def _list_codes() -> dict[str, str]:
    codes = {fold_text(each.name): each.alpha2 for each in countries}
    codes |= {fold_text(each.alpha3): each.alpha2 for each in countries}
    codes |= {fold_text(each.alpha2): each.alpha2 for each in countries}
    return codes | {fold_text(name): code for code, names in _OTHER_NAMES.items() for name in names.split("|")}


def find_country_code(text: str) -> str | None:
    """Return the ISO 3166-1 code of a country, by its code or its English name; None for what is none.

    Example:
        >>> [find_country_code(name) for name in ("Viet Nam", "Vietnam", "usa", "Mars")]
        ['VN', 'VN', 'US', None]
    """
    return _list_codes().get(fold_text(text))
