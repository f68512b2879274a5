"""Places on Earth: which coordinates can be, how far two are apart, and areas that a search is narrowed to."""

import math
from dataclasses import dataclass

from fieldmark.errors import RequestError

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""


def is_on_earth(latitude: float | None, longitude: float | None) -> bool:
    """Tell whether two numbers are the coordinates of a place."""
    if latitude is None or longitude is None:
        return False
    return math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180


def compute_distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the distance of two places, each latitude and longitude in degrees, on a sphere: the haversine formula."""
    first, second = math.radians(one[0]), math.radians(other[0])
    half = math.sin((second - first) / 2) ** 2
    half += math.cos(first) * math.cos(second) * math.sin(math.radians(other[1] - one[1]) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def parse_degrees(text: str) -> float | None:
    """Return degrees, with a decimal point or comma; None for what is no number.

    Example:
        >>> parse_degrees(" -41,07 "), parse_degrees("41.07"), parse_degrees("41 N")
        (-41.07, 41.07, None)
    """
    plain = text.strip().replace("\u2212", "-")
    if plain.count(",") == 1 and "." not in plain:
        plain = plain.replace(",", ".")
    try:
        degrees = float(plain)
    except ValueError:
        return None
    return degrees if math.isfinite(degrees) else None


@dataclass(frozen=True, slots=True)
class Box:
    """An area between two meridians and two parallels; one that spans the date line has its west above its east."""

    west: float
    south: float
    east: float
    north: float

    def check(self) -> None:
        """Check that the four bounds are an area.

        Raises:
            RequestError: They are not.
        """
        bounds = f"{self.west:g},{self.south:g},{self.east:g},{self.north:g}"
        is_valid = is_on_earth(self.south, self.west) and is_on_earth(self.north, self.east)
        if not is_valid or self.south > self.north:
            raise RequestError(
                f"The box {bounds} is no area. Give west,south,east,north in degrees: longitudes from -180 to 180, "
                "latitudes from -90 to 90, the southern one first.",
                kind="bad_area",
            )


@dataclass(frozen=True, slots=True)
class Circle:
    """All places within a distance of one."""

    latitude: float
    longitude: float
    radius_km: float

    def check(self) -> None:
        """Check that there is such a circle.

        Raises:
            RequestError: There is none.
        """
        if not is_on_earth(self.latitude, self.longitude) or not 0 < self.radius_km < math.inf:
            raise RequestError(
                f"There are no places within {self.radius_km:g} km of {self.latitude:g},{self.longitude:g}. Give "
                "latitude,longitude,kilometers: a latitude from -90 to 90, a longitude from -180 to 180, and a "
                "distance above 0.",
                kind="bad_area",
            )
