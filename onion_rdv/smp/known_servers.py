"""Servers that the SimpleX app knows by name, so that its links leave out their fingerprints and onion services.

The list is the app's own: simplex-chat, src/Simplex/Chat/Operators/Presets.hs, ``allPresetServers``.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from onion_rdv.protocol.short_link import SMP_PORT
from onion_rdv.smp.wire.address import SmpServer

_ADDRESSES: Final = """
smp://0YuTwO05YJWS8rkjn9eLJDjQhFKvIYd8d4xG8X1blIU@smp8.simplex.im,beccx4yfxxbvyhqypaavemqurytl6hozr47wfc7uuecacjqdvwpw2xid.onion
smp://SkIkI6EPd2D63F4xFKfHk7I1UGZVNn6k1QWZ5rcyr6w@smp9.simplex.im,jssqzccmrcws6bhmn77vgmhfjmhwlyr3u7puw4erkyoosywgl67slqqd.onion
smp://6iIcWT_dF2zN_w5xzZEY7HI2Prbh3ldP07YTyDexPjE@smp10.simplex.im,rb2pbttocvnbrngnwziclp2f4ckjq65kebafws6g4hy22cdaiv5dwjqd.onion
smp://1OwYGt-yqOfe2IyVHhxz3ohqo3aCCMjtB-8wn4X_aoY@smp11.simplex.im,6ioorbm6i3yxmuoezrhjk6f6qgkc4syabh7m3so74xunb5nzr4pwgfqd.onion
smp://UkMFNAXLXeAAe0beCa4w6X_zp18PwxSaSjY17BKUGXQ@smp12.simplex.im,ie42b5weq7zdkghocs3mgxdjeuycheeqqmksntj57rmejagmg4eor5yd.onion
smp://enEkec4hlR3UtKx2NMpOUK_K4ZuDxjWBO1d9Y4YXVaA@smp14.simplex.im,aspkyu2sopsnizbyfabtsicikr2s4r3ti35jogbcekhm3fsoeyjvgrid.onion
smp://h--vW7ZSkXPeOUpfxlFGgauQmXNFOzGoizak7Ult7cw@smp15.simplex.im,oauu4bgijybyhczbnxtlggo6hiubahmeutaqineuyy23aojpih3dajad.onion
smp://hejn2gVIqNU6xjtGM3OwQeuk8ZEbDXVJXAlnSBJBWUA@smp16.simplex.im,p3ktngodzi6qrf7w64mmde3syuzrv57y55hxabqcq3l5p6oi7yzze6qd.onion
smp://ZKe4uxF4Z_aLJJOEsC-Y6hSkXgQS5-oc442JQGkyP8M@smp17.simplex.im,ogtwfxyi3h2h5weftjjpjmxclhb5ugufa5rcyrmg7j4xlch7qsr5nuqd.onion
smp://PtsqghzQKU83kYTlQ1VKg996dW4Cw4x_bvpKmiv8uns@smp18.simplex.im,lyqpnwbs2zqfr45jqkncwpywpbtq7jrhxnib5qddtr6npjyezuwd3nqd.onion
smp://N_McQS3F9TGoh4ER0QstUf55kGnNSd-wXfNPZ7HukcM@smp19.simplex.im,i53bbtoqhlc365k6kxzwdp5w3cdt433s7bwh3y32rcbml2vztiyyz5id.onion
smp://u2dS9sG8nMNURyZwqASV4yROM28Er0luVTx5X1CsMrU@smp4.simplex.im,o5vmywmrnaxalvz6wi3zicyftgio6psuvyniis6gco6bp6ekl4cqj4id.onion
smp://hpq7_4gGJiilmz5Rf-CswuU5kZGkm_zOIooSw6yALRg@smp5.simplex.im,jjbyvoemxysm7qxap7m5d5m35jzv5qq6gnlv7s4rsn7tdwwmuqciwpid.onion
smp://PQUV2eL0t7OStZOoAsPEV2QYWt4-xilbakvGUGOItUo@smp6.simplex.im,bylepyau3ty4czmn77q4fglvperknl4bi2eb2fdy2bh4jxtf32kf73yd.onion
smp://8Af90NX2TTkKEJAF1RCg69P_Odg2Z-6_J6DOKUqK3rQ@smp7.simplex.im,dbxqutskmmbkbrs7ofi7pmopeyhgi5cxbjbh4ummgmep4r6bz4cbrcid.onion
smp://xQW_ufMkGE20UrTlBl8QqceG1tbuylXhr9VOLPyRJmw@smp1.simplexonflux.com,qb4yoanyl4p7o33yrknv4rs6qo7ugeb2tu2zo66sbebezs4cpyosarid.onion
smp://LDnWZVlAUInmjmdpQQoIo6FUinRXGe0q3zi5okXDE4s@smp2.simplexonflux.com,yiqtuh3q4x7hgovkomafsod52wvfjucdljqbbipg5sdssnklgongxbqd.onion
smp://1jne379u7IDJSxAvXbWb_JgoE7iabcslX0LBF22Rej0@smp3.simplexonflux.com,a5lm4k7ufei66cdck6fy63r4lmkqy3dekmmb7jkfdm5ivi6kfaojshad.onion
smp://xmAmqj75I9mWrUihLUlI0ZuNLXlIwFIlHRq5Pb6cHAU@smp4.simplexonflux.com,qpcz2axyy66u26hfdd2e23uohcf3y6c36mn7dcuilcgnwjasnrvnxjqd.onion
smp://rWvBYyTamuRCBYb_KAn-nsejg879ndhiTg5Sq3k0xWA@smp5.simplexonflux.com,4ao347qwiuluyd45xunmii4skjigzuuox53hpdsgbwxqafd4yrticead.onion
smp://PN7-uqLBToqlf1NxHEaiL35lV2vBpXq8Nj8BW11bU48@smp6.simplexonflux.com,hury6ot3ymebbr2535mlp7gcxzrjpc6oujhtfxcfh2m4fal4xw5fq6qd.onion
"""


@cache
def _by_name() -> dict[str, SmpServer]:
    servers = [SmpServer.parse(line) for line in _ADDRESSES.split()]
    return {server.hosts[0]: server for server in servers}


def complete(hosts: tuple[str, ...], port: int | None, key_hash: bytes | None) -> SmpServer:
    """Give the server that a link names, with what the app would add to it.

    A link that names only a host of the list means the server of the list. What a link says itself is never replaced;
    without a fingerprint, and not in the list, the server stays without one.
    """
    known = _by_name().get(hosts[0])
    if known is not None and len(hosts) == 1 and port is None and key_hash in {None, known.key_hash}:
        return known
    return SmpServer(key_hash or b"", hosts, SMP_PORT if port is None else port)
