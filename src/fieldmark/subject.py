"""The subject of a collection, birds or other species or anything else, and the words for it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

_BIRD_ENDINGS = frozenset(
    "accentor albatross antbird antpitta antshrike antwren auk avocet babbler barbet becard bittern blackbird "  # noqa: SIM905
    "bluebird boobook bowerbird brushfinch bulbul bunting bustard buttonquail buzzard canary cardinal cassowary "
    "catbird chachalaca chat chickadee chiffchaff cisticola cockatoo condor coot cormorant cotinga coua coucal "
    "creeper crossbill crow cuckoo cuckooshrike curassow curlew dipper dotterel dove drongo duck dunlin eagle "
    "egret elaenia emu euphonia fairywren falcon fantail finch flamingo flicker flowerpecker flycatcher francolin "
    "frigatebird frogmouth fulmar gannet gnatcatcher godwit goldeneye goldfinch goose goshawk grackle grebe "
    "greenbul greenfinch grosbeak grouse guan guillemot gull harrier hawfinch hawk heron honeyeater hoopoe "
    "hornbill hummingbird ibis jacana jackdaw jaeger jay junco kestrel kingbird kingfisher kinglet kite kittiwake "
    "lapwing lark laughingthrush linnet longspur loon lorikeet lory macaw magpie mallard manakin mannikin martin "
    "meadowlark merganser merlin minivet mockingbird monarch moorhen murre myna nighthawk nightingale nightjar "
    "nutcracker nuthatch oriole osprey ostrich ovenbird owl owlet oystercatcher parakeet parrot parrotbill "
    "partridge parula peafowl pelican penguin petrel pewee phalarope pheasant phoebe piculet pigeon pintail pipit "
    "pitta plover ptarmigan puffbird puffin quail rail raven redpoll redshank redstart rhea roadrunner robin "
    "roller rook rosefinch sanderling sandgrouse sandpiper sapsucker scaup scoter screamer seedeater shag "
    "shearwater shelduck shoveler shrike siskin skimmer skua snipe sparrow sparrowhawk spinetail spoonbill "
    "starling stilt stonechat stork sunbird swallow swan swift swiftlet tanager tapaculo teal tern thornbill "
    "thrasher thrush tinamou tit titmouse toucan towhee treecreeper treepie trogon turaco turkey turnstone "
    "tyrannulet tyrant veery violetear vireo vulture wagtail warbler waterthrush waxbill waxwing weaver wheatear "
    "whimbrel whinchat whistler wigeon willet woodcock woodcreeper woodpecker woodpigeon wren wryneck yellowlegs "
    "yellowthroat".split()
)
"""Last words of English names of birds."""
_BIRD_ORDERS = frozenset(
    "accipitriformes anseriformes apodiformes apterygiformes bucerotiformes caprimulgiformes cariamiformes "  # noqa: SIM905
    "casuariiformes cathartiformes charadriiformes ciconiiformes coliiformes columbiformes coraciiformes cuculiformes "
    "falconiformes galliformes gaviiformes gruiformes musophagiformes otidiformes passeriformes pelecaniformes "
    "phoenicopteriformes piciformes podicipediformes procellariiformes psittaciformes pteroclidiformes rheiformes "
    "sphenisciformes strigiformes struthioniformes suliformes tinamiformes trogoniformes".split()
)


class Subject(StrEnum):
    """The subject of a collection: birds, other living things by their species, or things of any kind."""

    BIRDS = "birds"
    SPECIES = "species"
    THINGS = "things"


@dataclass(frozen=True, slots=True)
class Words:
    """The words for a collection's classes and items.

    Args:
        one: For a class; `many` for several.
        item: For what a photo shows; `sound` for what it utters.
    """

    one: str
    many: str
    item: str
    sound: str

    json_keys: ClassVar = ("one", "many", "item", "sound")


_WORDS = {
    Subject.BIRDS: Words("species", "species", "bird", "song"),
    Subject.SPECIES: Words("species", "species", "item", "sound"),
    Subject.THINGS: Words("class", "classes", "item", "sound"),
}


def get_words(subject: Subject) -> Words:
    """Return the words for a subject."""
    return _WORDS[subject]


def decide_subject(known: Iterable[Sequence[str]], *, orders: Iterable[str] = (), class_count: int = 0) -> Subject:
    """Decide what a collection is of.

    Half of its classes or more must be species, and half of these birds, by their names or by their orders.

    Args:
        known: All names of each species that its classes, or what encoders call its items, are known to be.
        orders: Of its classes, from a taxonomy.
        class_count: Of its classes, known or not.

    Example:
        >>> decide_subject([("Cyanocitta cristata", "Blue Jay")], class_count=1).value
        'birds'
        >>> decide_subject([], class_count=12).value
        'things'
    """
    species, orders = list(known), [order.casefold() for order in orders]
    count = max(len(species), len(orders))
    if count == 0 or 2 * count < class_count:
        return Subject.THINGS
    birds = max(sum(map(_is_bird, species)), sum(order in _BIRD_ORDERS for order in orders))
    return Subject.BIRDS if 2 * birds >= count else Subject.SPECIES


def decide_by_names(class_names: Iterable[str], *, is_ranked: bool) -> Subject:
    """Decide what classes are of by their own names, where no encoder was asked.

    Args:
        is_ranked: Whether a taxonomy has their genera or families, as of species.

    Example:
        >>> decide_by_names(["Blue_Jay", "Barn_Swallow"], is_ranked=False).value
        'birds'
    """
    names = [(name,) for name in class_names]
    birds = [own for own in names if _is_bird(own)]
    return decide_subject(names if is_ranked else birds, class_count=len(names))


def _is_bird(names: Sequence[str]) -> bool:
    """Tell whether one of a species' names ends as names of birds do."""
    words = [re.findall(r"[a-z]+", name.casefold().replace("_", " ")) for name in names]
    return any(bool(own) and own[-1] in _BIRD_ENDINGS for own in words)
