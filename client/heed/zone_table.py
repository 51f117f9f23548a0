"""The offsets of the IANA time zones from 2025 on, as numbers, and the names of each.

Made by scripts/generate_zones.py; `heed.zones` reads it. What changes here changes decisions.
"""

from typing import Final, NamedTuple

VERSION: Final = "2026f"
"""The release of the IANA database."""

Turn = tuple[int, int, int, int]
"""A day of each year and a time of it: the month, which of its weeks (5: the last), the day from
Sunday, 0, and seconds since midnight by the clock before it turns."""


class ZoneRow(NamedTuple):
    """Zones that are alike. Offsets are in seconds east of Greenwich."""

    first: int
    """The offset until the first change, where there are changes."""
    standard: int
    other: int
    """The offset from each `begins` to the next `ends`."""
    begins: Turn | None
    ends: Turn | None
    changes: tuple[tuple[int, int], ...]
    """When another offset began, in seconds since 1970, and that offset. After the last one
    the turns count."""
    names: str
    """Joined by spaces."""


# fmt: off
ROWS: Final = (
    ZoneRow(
        0, 0, 0, None, None, (),
        "Africa/Abidjan Africa/Accra Africa/Bamako Africa/Banjul Africa/Bissau Africa/Conakry "
        "Africa/Dakar Africa/Freetown Africa/Lome Africa/Monrovia Africa/Nouakchott "
        "Africa/Ouagadougou Africa/Sao_Tome Africa/Timbuktu America/Danmarkshavn "
        "Atlantic/Reykjavik Atlantic/St_Helena Etc/GMT Etc/GMT+0 Etc/GMT-0 Etc/GMT0 "
        "Etc/Greenwich Etc/UCT Etc/UTC Etc/Universal Etc/Zulu GMT GMT+0 GMT-0 GMT0 Greenwich "
        "Iceland UCT UTC Universal Zulu",
    ),
    ZoneRow(
        3600, 3600, 3600, None, None, (),
        "Africa/Algiers Africa/Bangui Africa/Brazzaville Africa/Douala Africa/Kinshasa "
        "Africa/Lagos Africa/Libreville Africa/Luanda Africa/Malabo Africa/Ndjamena "
        "Africa/Niamey Africa/Porto-Novo Africa/Tunis Etc/GMT-1",
    ),
    ZoneRow(
        7200, 7200, 10800, (4, 5, 5, 0), (10, 5, 4, 86400), (),
        "Africa/Cairo Egypt",
    ),
    ZoneRow(
        3600, 0, 0, None, None, (
        (1740276000, 0), (1743904800, 3600), (1771120800, 0), (1774144800, 3600), (1789866000, 0),
        ),
        "Africa/Casablanca Africa/El_Aaiun",
    ),
    ZoneRow(
        3600, 3600, 7200, (3, 5, 0, 7200), (10, 5, 0, 10800), (),
        "Africa/Ceuta Arctic/Longyearbyen Atlantic/Jan_Mayen CET Europe/Amsterdam Europe/Andorra "
        "Europe/Belgrade Europe/Berlin Europe/Bratislava Europe/Brussels Europe/Budapest "
        "Europe/Busingen Europe/Copenhagen Europe/Gibraltar Europe/Ljubljana Europe/Luxembourg "
        "Europe/Madrid Europe/Malta Europe/Monaco Europe/Oslo Europe/Paris Europe/Podgorica "
        "Europe/Prague Europe/Rome Europe/San_Marino Europe/Sarajevo Europe/Skopje "
        "Europe/Stockholm Europe/Tirane Europe/Vaduz Europe/Vatican Europe/Vienna Europe/Warsaw "
        "Europe/Zagreb Europe/Zurich MET Poland",
    ),
    ZoneRow(
        7200, 7200, 7200, None, None, (),
        "Africa/Blantyre Africa/Bujumbura Africa/Gaborone Africa/Harare Africa/Johannesburg "
        "Africa/Juba Africa/Khartoum Africa/Kigali Africa/Lubumbashi Africa/Lusaka Africa/Maputo "
        "Africa/Maseru Africa/Mbabane Africa/Tripoli Africa/Windhoek Etc/GMT-2 "
        "Europe/Kaliningrad Libya",
    ),
    ZoneRow(
        10800, 10800, 10800, None, None, (),
        "Africa/Addis_Ababa Africa/Asmara Africa/Asmera Africa/Dar_es_Salaam Africa/Djibouti "
        "Africa/Kampala Africa/Mogadishu Africa/Nairobi Antarctica/Syowa Asia/Aden Asia/Amman "
        "Asia/Baghdad Asia/Bahrain Asia/Damascus Asia/Istanbul Asia/Kuwait Asia/Qatar "
        "Asia/Riyadh Etc/GMT-3 Europe/Istanbul Europe/Kirov Europe/Minsk Europe/Moscow "
        "Europe/Simferopol Europe/Volgograd Indian/Antananarivo Indian/Comoro Indian/Mayotte "
        "Turkey W-SU",
    ),
    ZoneRow(
        -36000, -36000, -32400, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Adak America/Atka US/Aleutian",
    ),
    ZoneRow(
        -32400, -32400, -28800, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Anchorage America/Juneau America/Metlakatla America/Nome America/Sitka "
        "America/Yakutat US/Alaska",
    ),
    ZoneRow(
        -10800, -10800, -10800, None, None, (),
        "America/Araguaina America/Argentina/Buenos_Aires America/Argentina/Catamarca "
        "America/Argentina/ComodRivadavia America/Argentina/Cordoba America/Argentina/Jujuy "
        "America/Argentina/La_Rioja America/Argentina/Mendoza America/Argentina/Rio_Gallegos "
        "America/Argentina/Salta America/Argentina/San_Juan America/Argentina/San_Luis "
        "America/Argentina/Tucuman America/Argentina/Ushuaia America/Asuncion America/Bahia "
        "America/Belem America/Buenos_Aires America/Catamarca America/Cayenne America/Cordoba "
        "America/Fortaleza America/Jujuy America/Maceio America/Mendoza America/Montevideo "
        "America/Paramaribo America/Punta_Arenas America/Recife America/Rosario America/Santarem "
        "America/Sao_Paulo Antarctica/Palmer Antarctica/Rothera Atlantic/Stanley Brazil/East "
        "Etc/GMT+3",
    ),
    ZoneRow(
        -21600, -21600, -21600, None, None, (),
        "America/Bahia_Banderas America/Belize America/Chihuahua America/Costa_Rica "
        "America/El_Salvador America/Guatemala America/Managua America/Merida "
        "America/Mexico_City America/Monterrey America/Regina America/Swift_Current "
        "America/Tegucigalpa Canada/Saskatchewan Etc/GMT+6 Mexico/General Pacific/Galapagos",
    ),
    ZoneRow(
        -14400, -14400, -14400, None, None, (),
        "America/Anguilla America/Antigua America/Aruba America/Barbados America/Blanc-Sablon "
        "America/Boa_Vista America/Campo_Grande America/Caracas America/Cuiaba America/Curacao "
        "America/Dominica America/Grenada America/Guadeloupe America/Guyana America/Kralendijk "
        "America/La_Paz America/Lower_Princes America/Manaus America/Marigot America/Martinique "
        "America/Montserrat America/Port_of_Spain America/Porto_Velho America/Puerto_Rico "
        "America/Santo_Domingo America/St_Barthelemy America/St_Kitts America/St_Lucia "
        "America/St_Thomas America/St_Vincent America/Tortola America/Virgin Brazil/West "
        "Etc/GMT+4",
    ),
    ZoneRow(
        -18000, -18000, -18000, None, None, (),
        "America/Atikokan America/Bogota America/Cancun America/Cayman America/Coral_Harbour "
        "America/Eirunepe America/Guayaquil America/Jamaica America/Lima America/Panama "
        "America/Porto_Acre America/Rio_Branco Brazil/Acre EST Etc/GMT+5 Jamaica",
    ),
    ZoneRow(
        -25200, -25200, -21600, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Boise America/Cambridge_Bay America/Ciudad_Juarez America/Denver "
        "America/Shiprock MST7MDT Navajo US/Mountain",
    ),
    ZoneRow(
        -21600, -21600, -18000, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Chicago America/Indiana/Knox America/Indiana/Tell_City America/Knox_IN "
        "America/Matamoros America/Menominee America/North_Dakota/Beulah "
        "America/North_Dakota/Center America/North_Dakota/New_Salem America/Ojinaga "
        "America/Rankin_Inlet America/Resolute CST6CDT US/Central US/Indiana-Starke",
    ),
    ZoneRow(
        -10800, -10800, -10800, None, None, (
        (1742439600, -10800),
        ),
        "America/Coyhaique",
    ),
    ZoneRow(
        -25200, -25200, -25200, None, None, (),
        "America/Creston America/Dawson America/Dawson_Creek America/Fort_Nelson "
        "America/Hermosillo America/Mazatlan America/Phoenix America/Whitehorse Canada/Yukon "
        "Etc/GMT+7 MST Mexico/BajaSur US/Arizona",
    ),
    ZoneRow(
        -18000, -18000, -14400, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Detroit America/Fort_Wayne America/Grand_Turk America/Indiana/Indianapolis "
        "America/Indiana/Marengo America/Indiana/Petersburg America/Indiana/Vevay "
        "America/Indiana/Vincennes America/Indiana/Winamac America/Indianapolis America/Iqaluit "
        "America/Kentucky/Louisville America/Kentucky/Monticello America/Louisville "
        "America/Montreal America/Nassau America/New_York America/Nipigon America/Pangnirtung "
        "America/Port-au-Prince America/Thunder_Bay America/Toronto Canada/Eastern EST5EDT "
        "US/East-Indiana US/Eastern US/Michigan",
    ),
    ZoneRow(
        -25200, -21600, -21600, None, None, (
        (1741510800, -21600), (1762070400, -25200), (1772960400, -21600), (1793520000, -21600),
        ),
        "America/Edmonton America/Inuvik America/Yellowknife Canada/Mountain",
    ),
    ZoneRow(
        -14400, -14400, -10800, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Glace_Bay America/Goose_Bay America/Halifax America/Moncton America/Thule "
        "Atlantic/Bermuda Canada/Atlantic",
    ),
    ZoneRow(
        -18000, -18000, -14400, (3, 2, 0, 0), (11, 1, 0, 3600), (
        (1741496400, -14400), (1762059600, -18000), (1772946000, -14400), (1825563600, -18000),
        ),
        "America/Havana Cuba",
    ),
    ZoneRow(
        -28800, -28800, -25200, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Ensenada America/Los_Angeles America/Santa_Isabel America/Tijuana "
        "Mexico/BajaNorte PST8PDT US/Pacific",
    ),
    ZoneRow(
        -10800, -10800, -7200, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/Miquelon",
    ),
    ZoneRow(
        -7200, -7200, -7200, None, None, (),
        "America/Noronha Atlantic/South_Georgia Brazil/DeNoronha Etc/GMT+2",
    ),
    ZoneRow(
        -7200, -7200, -3600, (3, 5, 0, -3600), (10, 5, 0, 0), (),
        "America/Godthab America/Nuuk America/Scoresbysund",
    ),
    ZoneRow(
        -14400, -14400, -10800, (9, 1, 6, 86400), (4, 1, 6, 86400), (),
        "America/Santiago Chile/Continental",
    ),
    ZoneRow(
        -12600, -12600, -9000, (3, 2, 0, 7200), (11, 1, 0, 7200), (),
        "America/St_Johns Canada/Newfoundland",
    ),
    ZoneRow(
        -28800, -25200, -25200, None, None, (
        (1741514400, -25200), (1762074000, -28800), (1772964000, -25200), (1793523600, -25200),
        ),
        "America/Vancouver Canada/Pacific",
    ),
    ZoneRow(
        -21600, -18000, -18000, None, None, (
        (1741507200, -18000), (1762066800, -21600), (1772956800, -18000), (1793516400, -18000),
        ),
        "America/Rainy_River America/Winnipeg Canada/Central",
    ),
    ZoneRow(
        28800, 28800, 28800, None, None, (),
        "Antarctica/Casey Asia/Brunei Asia/Choibalsan Asia/Chongqing Asia/Chungking Asia/Harbin "
        "Asia/Hong_Kong Asia/Irkutsk Asia/Kuala_Lumpur Asia/Kuching Asia/Macao Asia/Macau "
        "Asia/Makassar Asia/Manila Asia/Shanghai Asia/Singapore Asia/Taipei Asia/Ujung_Pandang "
        "Asia/Ulaanbaatar Asia/Ulan_Bator Australia/Perth Australia/West Etc/GMT-8 Hongkong PRC "
        "ROC Singapore",
    ),
    ZoneRow(
        25200, 25200, 25200, None, None, (),
        "Antarctica/Davis Asia/Bangkok Asia/Barnaul Asia/Ho_Chi_Minh Asia/Hovd Asia/Jakarta "
        "Asia/Krasnoyarsk Asia/Novokuznetsk Asia/Novosibirsk Asia/Phnom_Penh Asia/Pontianak "
        "Asia/Saigon Asia/Tomsk Asia/Vientiane Etc/GMT-7 Indian/Christmas",
    ),
    ZoneRow(
        36000, 36000, 39600, (10, 1, 0, 7200), (4, 1, 0, 10800), (),
        "Antarctica/Macquarie Australia/ACT Australia/Canberra Australia/Currie Australia/Hobart "
        "Australia/Melbourne Australia/NSW Australia/Sydney Australia/Tasmania "
        "Australia/Victoria",
    ),
    ZoneRow(
        18000, 18000, 18000, None, None, (),
        "Antarctica/Mawson Antarctica/Vostok Asia/Almaty Asia/Aqtau Asia/Aqtobe Asia/Ashgabat "
        "Asia/Ashkhabad Asia/Atyrau Asia/Dushanbe Asia/Karachi Asia/Oral Asia/Qostanay "
        "Asia/Qyzylorda Asia/Samarkand Asia/Tashkent Asia/Yekaterinburg Etc/GMT-5 "
        "Indian/Kerguelen Indian/Maldives",
    ),
    ZoneRow(
        0, 0, 7200, (3, 5, 0, 3600), (10, 5, 0, 10800), (),
        "Antarctica/Troll",
    ),
    ZoneRow(
        43200, 43200, 43200, None, None, (),
        "Asia/Anadyr Asia/Kamchatka Etc/GMT-12 Kwajalein Pacific/Fiji Pacific/Funafuti "
        "Pacific/Kwajalein Pacific/Majuro Pacific/Nauru Pacific/Tarawa Pacific/Wake "
        "Pacific/Wallis",
    ),
    ZoneRow(
        14400, 14400, 14400, None, None, (),
        "Asia/Baku Asia/Dubai Asia/Muscat Asia/Tbilisi Asia/Yerevan Etc/GMT-4 Europe/Astrakhan "
        "Europe/Samara Europe/Saratov Europe/Ulyanovsk Indian/Mahe Indian/Mauritius "
        "Indian/Reunion",
    ),
    ZoneRow(
        7200, 7200, 10800, (3, 5, 0, 0), (10, 5, 0, 0), (),
        "Asia/Beirut",
    ),
    ZoneRow(
        21600, 21600, 21600, None, None, (),
        "Asia/Bishkek Asia/Dacca Asia/Dhaka Asia/Kashgar Asia/Omsk Asia/Thimbu Asia/Thimphu "
        "Asia/Urumqi Etc/GMT-6 Indian/Chagos",
    ),
    ZoneRow(
        32400, 32400, 32400, None, None, (),
        "Asia/Chita Asia/Dili Asia/Jayapura Asia/Khandyga Asia/Pyongyang Asia/Seoul Asia/Tokyo "
        "Asia/Yakutsk Etc/GMT-9 Japan Pacific/Palau ROK",
    ),
    ZoneRow(
        19800, 19800, 19800, None, None, (),
        "Asia/Calcutta Asia/Colombo Asia/Kolkata",
    ),
    ZoneRow(
        7200, 7200, 10800, (3, 5, 0, 10800), (10, 5, 0, 14400), (),
        "Asia/Famagusta Asia/Nicosia EET Europe/Athens Europe/Bucharest Europe/Chisinau "
        "Europe/Helsinki Europe/Kiev Europe/Kyiv Europe/Mariehamn Europe/Nicosia Europe/Riga "
        "Europe/Sofia Europe/Tallinn Europe/Tiraspol Europe/Uzhgorod Europe/Vilnius "
        "Europe/Zaporozhye",
    ),
    ZoneRow(
        7200, 7200, 10800, (3, 4, 4, 180000), (10, 4, 4, 180000), (
        (1744416000, 10800), (1761346800, 7200), (1774656000, 10800), (1792796400, 7200),
        (1806105600, 10800), (1824850800, 7200), (1837555200, 10800), (1856300400, 7200),
        (1869004800, 10800), (1887750000, 7200), (1901059200, 10800), (1919199600, 7200),
        (1932508800, 10800), (1950649200, 7200), (1963958400, 10800), (1982703600, 7200),
        (1995408000, 10800), (2014153200, 7200), (2026857600, 10800), (2045602800, 7200),
        (2058307200, 10800), (2077052400, 7200), (2090361600, 10800), (2107897200, 7200),
        (2121811200, 10800), (2138742000, 7200), (2153260800, 10800), (2168982000, 7200),
        (2184710400, 10800), (2199826800, 7200), (2216160000, 10800), (2230066800, 7200),
        (2234304000, 10800), (2234905200, 7200), (2248214400, 10800), (2260911600, 7200),
        (2264544000, 10800), (2266354800, 7200), (2279664000, 10800), (2291756400, 7200),
        (2295388800, 10800), (2297804400, 7200), (2311113600, 10800), (2321996400, 7200),
        (2326233600, 10800), (2329254000, 7200), (2342563200, 10800), (2352841200, 7200),
        (2356473600, 10800), (2361308400, 7200), (2374012800, 10800), (2383686000, 7200),
        (2387318400, 10800), (2392758000, 7200), (2405462400, 10800), (2413926000, 7200),
        (2418163200, 10800), (2424207600, 7200), (2437516800, 10800), (2444770800, 7200),
        (2448403200, 10800), (2455657200, 7200), (2468966400, 10800), (2475010800, 7200),
        (2479248000, 10800), (2487106800, 7200), (2500416000, 10800), (2505855600, 7200),
        (2509488000, 10800), (2519161200, 7200), (2531865600, 10800), (2536700400, 7200),
        (2540332800, 10800), (2550610800, 7200), (2563315200, 10800), (2566940400, 7200),
        (2571177600, 10800), (2582060400, 7200), (2595369600, 10800), (2597785200, 7200),
        (2601417600, 10800), (2613510000, 7200), (2626819200, 10800), (2628025200, 7200),
        (2632262400, 10800), (2644959600, 7200), (2658268800, 10800), (2658870000, 7200),
        (2663107200, 10800), (2676409200, 7200), (2693347200, 10800), (2708463600, 7200),
        (2724192000, 10800), (2739913200, 7200), (2754432000, 10800), (2771362800, 7200),
        (2785276800, 10800), (2802812400, 7200), (2816121600, 10800), (2834262000, 7200),
        (2847571200, 10800), (2866316400, 7200), (2879020800, 10800), (2897766000, 7200),
        (2910470400, 10800), (2929215600, 7200), (2941920000, 10800), (2960665200, 7200),
        (2973974400, 10800), (2992114800, 7200), (3005424000, 10800), (3023564400, 7200),
        (3036873600, 10800), (3055618800, 7200), (3068323200, 10800), (3087068400, 7200),
        (3099772800, 10800), (3117913200, 7200), (3131827200, 10800), (3148758000, 7200),
        (3163276800, 10800), (3179602800, 7200), (3194726400, 10800), (3209842800, 7200),
        (3226176000, 10800), (3240687600, 7200), (3244320000, 10800), (3244921200, 7200),
        (3257625600, 10800), (3271532400, 7200), (3275164800, 10800), (3276370800, 7200),
        (3289075200, 10800), (3301772400, 7200), (3306009600, 10800), (3307820400, 7200),
        (3321129600, 10800), (3332617200, 7200), (3336249600, 10800), (3339270000, 7200),
        (3352579200, 10800), (3362857200, 7200), (3367094400, 10800), (3370719600, 7200),
        (3384028800, 10800), (3393702000, 7200), (3397939200, 10800), (3402774000, 7200),
        (3415478400, 10800), (3424546800, 7200), (3428179200, 10800), (3434223600, 7200),
        (3446928000, 10800), (3454786800, 7200), (3459024000, 10800), (3465673200, 7200),
        (3478982400, 10800), (3485631600, 7200), (3489264000, 10800), (3497122800, 7200),
        (3510432000, 10800), (3516476400, 7200), (3520108800, 10800), (3528572400, 7200),
        (3541881600, 10800), (3546716400, 7200), (3550953600, 10800), (3560022000, 7200),
        (3573331200, 10800), (3577561200, 7200), (3581193600, 10800), (3592076400, 7200),
        (3604780800, 10800), (3607801200, 7200), (3612038400, 10800), (3623526000, 7200),
        (3636230400, 10800), (3638646000, 7200), (3642883200, 10800), (3654975600, 7200),
        (3668284800, 10800), (3669490800, 7200), (3673123200, 10800), (3686425200, 7200),
        ),
        "Asia/Gaza Asia/Hebron",
    ),
    ZoneRow(
        7200, 7200, 10800, (3, 4, 4, 93600), (10, 5, 0, 7200), (),
        "Asia/Jerusalem Asia/Tel_Aviv Israel",
    ),
    ZoneRow(
        16200, 16200, 16200, None, None, (),
        "Asia/Kabul",
    ),
    ZoneRow(
        20700, 20700, 20700, None, None, (),
        "Asia/Kathmandu Asia/Katmandu",
    ),
    ZoneRow(
        39600, 39600, 39600, None, None, (),
        "Asia/Magadan Asia/Sakhalin Asia/Srednekolymsk Etc/GMT-11 Pacific/Bougainville "
        "Pacific/Efate Pacific/Guadalcanal Pacific/Kosrae Pacific/Noumea Pacific/Pohnpei "
        "Pacific/Ponape",
    ),
    ZoneRow(
        12600, 12600, 12600, None, None, (),
        "Asia/Tehran Iran",
    ),
    ZoneRow(
        36000, 36000, 36000, None, None, (),
        "Antarctica/DumontDUrville Asia/Ust-Nera Asia/Vladivostok Australia/Brisbane "
        "Australia/Lindeman Australia/Queensland Etc/GMT-10 Pacific/Chuuk Pacific/Guam "
        "Pacific/Port_Moresby Pacific/Saipan Pacific/Truk Pacific/Yap",
    ),
    ZoneRow(
        23400, 23400, 23400, None, None, (),
        "Asia/Rangoon Asia/Yangon Indian/Cocos",
    ),
    ZoneRow(
        -3600, -3600, 0, (3, 5, 0, 0), (10, 5, 0, 3600), (),
        "Atlantic/Azores",
    ),
    ZoneRow(
        0, 0, 3600, (3, 5, 0, 3600), (10, 5, 0, 7200), (),
        "Atlantic/Canary Atlantic/Faeroe Atlantic/Faroe Atlantic/Madeira Europe/Belfast "
        "Europe/Guernsey Europe/Isle_of_Man Europe/Jersey Europe/Lisbon Europe/London GB GB-Eire "
        "Portugal WET",
    ),
    ZoneRow(
        -3600, -3600, -3600, None, None, (),
        "Atlantic/Cape_Verde Etc/GMT+1",
    ),
    ZoneRow(
        34200, 34200, 37800, (10, 1, 0, 7200), (4, 1, 0, 10800), (),
        "Australia/Adelaide Australia/Broken_Hill Australia/South Australia/Yancowinna",
    ),
    ZoneRow(
        34200, 34200, 34200, None, None, (),
        "Australia/Darwin Australia/North",
    ),
    ZoneRow(
        31500, 31500, 31500, None, None, (),
        "Australia/Eucla",
    ),
    ZoneRow(
        37800, 37800, 39600, (10, 1, 0, 7200), (4, 1, 0, 7200), (),
        "Australia/LHI Australia/Lord_Howe",
    ),
    ZoneRow(
        -36000, -36000, -36000, None, None, (),
        "Etc/GMT+10 HST Pacific/Honolulu Pacific/Johnston Pacific/Rarotonga Pacific/Tahiti "
        "US/Hawaii",
    ),
    ZoneRow(
        -39600, -39600, -39600, None, None, (),
        "Etc/GMT+11 Pacific/Midway Pacific/Niue Pacific/Pago_Pago Pacific/Samoa US/Samoa",
    ),
    ZoneRow(
        -43200, -43200, -43200, None, None, (),
        "Etc/GMT+12",
    ),
    ZoneRow(
        -28800, -28800, -28800, None, None, (),
        "Etc/GMT+8 Pacific/Pitcairn",
    ),
    ZoneRow(
        -32400, -32400, -32400, None, None, (),
        "Etc/GMT+9 Pacific/Gambier",
    ),
    ZoneRow(
        46800, 46800, 46800, None, None, (),
        "Etc/GMT-13 Pacific/Apia Pacific/Enderbury Pacific/Fakaofo Pacific/Kanton "
        "Pacific/Tongatapu",
    ),
    ZoneRow(
        50400, 50400, 50400, None, None, (),
        "Etc/GMT-14 Pacific/Kiritimati",
    ),
    ZoneRow(
        3600, 3600, 0, (10, 5, 0, 7200), (3, 5, 0, 3600), (),
        "Eire Europe/Dublin",
    ),
    ZoneRow(
        43200, 43200, 46800, (9, 5, 0, 7200), (4, 1, 0, 10800), (),
        "Antarctica/McMurdo Antarctica/South_Pole NZ Pacific/Auckland",
    ),
    ZoneRow(
        45900, 45900, 49500, (9, 5, 0, 9900), (4, 1, 0, 13500), (),
        "NZ-CHAT Pacific/Chatham",
    ),
    ZoneRow(
        -21600, -21600, -18000, (9, 1, 6, 79200), (4, 1, 6, 79200), (),
        "Chile/EasterIsland Pacific/Easter",
    ),
    ZoneRow(
        -34200, -34200, -34200, None, None, (),
        "Pacific/Marquesas",
    ),
    ZoneRow(
        39600, 39600, 43200, (10, 1, 0, 7200), (4, 1, 0, 10800), (),
        "Pacific/Norfolk",
    ),
)
# fmt: on
