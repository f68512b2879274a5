"""Codes of languages, from the codes and English names that sources of records write."""

from functools import cache

from fieldmark.records.columns import fold_text

_LANGUAGES = """
aa aar Afar; ab abk Abkhazian; ae ave Avestan; af afr Afrikaans; ak aka Akan; am amh Amharic
an arg Aragonese; ar ara Arabic; as asm Assamese; av ava Avaric; ay aym Aymara; az aze Azerbaijani
ba bak Bashkir; be bel Belarusian; bg bul Bulgarian; bi bis Bislama; bm bam Bambara; bn ben Bangla
bo bod tib Tibetan; br bre Breton; bs bos Bosnian; ca cat Catalan; ce che Chechen; ch cha Chamorro
co cos Corsican; cr cre Cree; cs ces cze Czech; cu chu Church_Slavic; cv chv Chuvash; cy cym wel Welsh
da dan Danish; de deu ger German; dv div Divehi; dz dzo Dzongkha; ee ewe Ewe; el ell gre Greek
en eng English; eo epo Esperanto; es spa Spanish; et est Estonian; eu eus baq Basque; fa fas per Persian
ff ful Fula; fi fin Finnish; fj fij Fijian; fo fao Faroese; fr fra fre French; fy fry Western_Frisian
ga gle Irish; gd gla Scottish_Gaelic; gl glg Galician; gn grn Guarani; gu guj Gujarati; gv glv Manx
ha hau Hausa; he heb Hebrew; hi hin Hindi; ho hmo Hiri_Motu; hr hrv Croatian; ht hat Haitian_Creole
hu hun Hungarian; hy hye arm Armenian; hz her Herero; ia ina Interlingua; id ind Indonesian
ie ile Interlingue; ig ibo Igbo; ii iii Sichuan_Yi; ik ipk Inupiaq; io ido Ido; is isl ice Icelandic
it ita Italian; iu iku Inuktitut; ja jpn Japanese; jv jav Javanese; ka kat geo Georgian; kg kon Kongo
ki kik Kikuyu; kj kua Kuanyama; kk kaz Kazakh; kl kal Kalaallisut; km khm Khmer; kn kan Kannada
ko kor Korean; kr kau Kanuri; ks kas Kashmiri; ku kur Kurdish; kv kom Komi; kw cor Cornish; ky kir Kyrgyz
la lat Latin; lb ltz Luxembourgish; lg lug Ganda; li lim Limburgish; ln lin Lingala; lo lao Lao
lt lit Lithuanian; lu lub Luba-Katanga; lv lav Latvian; mg mlg Malagasy; mh mah Marshallese
mi mri mao Māori; mk mkd mac Macedonian; ml mal Malayalam; mn mon Mongolian; mr mar Marathi
ms msa may Malay; mt mlt Maltese; my mya bur Burmese; na nau Nauru; nb nob Norwegian_Bokmål
nd nde North_Ndebele; ne nep Nepali; ng ndo Ndonga; nl nld dut Dutch; nn nno Norwegian_Nynorsk
no nor Norwegian; nr nbl South_Ndebele; nv nav Navajo; ny nya Nyanja; oc oci Occitan; oj oji Ojibwa
om orm Oromo; or ori Odia; os oss Ossetic; pa pan Punjabi; pi pli Pali; pl pol Polish; ps pus Pashto
pt por Portuguese; qu que Quechua; rm roh Romansh; rn run Rundi; ro ron rum Romanian; ru rus Russian
rw kin Kinyarwanda; sa san Sanskrit; sc srd Sardinian; sd snd Sindhi; se sme Northern_Sami; sg sag Sango
si sin Sinhala; sk slk slo Slovak; sl slv Slovenian; sm smo Samoan; sn sna Shona; so som Somali
sq sqi alb Albanian; sr srp Serbian; ss ssw Swati; st sot Southern_Sotho; su sun Sundanese; sv swe Swedish
sw swa Swahili; ta tam Tamil; te tel Telugu; tg tgk Tajik; th tha Thai; ti tir Tigrinya; tk tuk Turkmen
tl tgl Tagalog; tn tsn Tswana; to ton Tongan; tr tur Turkish; ts tso Tsonga; tt tat Tatar; tw twi Twi
ty tah Tahitian; ug uig Uyghur; uk ukr Ukrainian; ur urd Urdu; uz uzb Uzbek; ve ven Venda; vi vie Vietnamese
vo vol Volapük; wa wln Walloon; wo wol Wolof; xh xho Xhosa; yi yid Yiddish; yo yor Yoruba; za zha Zhuang
zh zho chi Chinese; zu zul Zulu
"""
"""ISO 639-1 and 639-2, and the English name, as Unicode CLDR has them."""

_OTHER_NAMES = {"bn": "bengali", "mi": "maori", "fy": "frisian", "nb": "bokmal", "nn": "nynorsk", "or": "oriya"}


@cache
def _list_codes() -> dict[str, str]:
    rows = (entry.split() for entry in _LANGUAGES.replace("\n", ";").split(";") if entry.strip())
    codes = {fold_text(word.replace("_", " ")): row[0] for row in rows for word in row}
    return codes | {name: code for code, name in _OTHER_NAMES.items()}


def find_language_code(text: str) -> str | None:
    """Return the two letters of ISO 639-1 for a language, by its code or its English name; None for what is none.

    Regions are left out: names of species are kept by language.

    Example:
        >>> [find_language_code(name) for name in ("de", "deu", "ger", "German", "pt-BR", "Klingon")]
        ['de', 'de', 'de', 'de', 'pt', None]
    """
    codes, wanted = _list_codes(), fold_text(text)
    return codes.get(wanted) or codes.get(fold_text(text.replace("_", "-").partition("-")[0]))
