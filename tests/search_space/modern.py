"""The official modules of SPAN, ECBSR, RLFN, RFDN, IMDN and EFDN as modules of ours, and their parameter names."""

from torch import nn

from srnas.search_space import PUBLISHED, Network, build_block, published
from srnas.search_space.blocks import conv3xc
from srnas.search_space.blocks.ecb import ECB
from srnas.search_space.blocks.edbb import EDBB
from srnas.search_space.blocks.folding import Foldable
from srnas.search_space.blocks.spab import SPAB
from srnas.search_space.blocks.spabv2 import SPABV2
from srnas.search_space.registry import REGISTRY


class OfficialPicture(nn.Module):
    """A network fed with what its layers work on, in the range of its authors; ours takes 0 to 1."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.architecture = network.architecture

    def forward(self, picture):
        architecture = self.architecture
        whole = architecture.input_range if architecture.restores else 1
        return self.network.enlarge(picture / whole) * whole


class Conv3XC(nn.Module):
    """The convolution with all options of its official class."""

    def __init__(self, c):
        super().__init__()
        assert c.get("bias", True)
        self.conv = Foldable(conv3xc.Bottleneck(c["c_in"], c["c_out"], c.get("gain1", 1), c.get("s", 1)))
        self.activation = nn.LeakyReLU(0.05) if c.get("relu") else nn.Identity()

    def forward(self, x):
        return self.activation(self.conv(x))


def edge(cls, c):
    given = {"activation": c.get("act_type", "prelu"), "identity": bool(c.get("with_idt", False))}
    if c.get("depth_multiplier") is not None:
        given["multiplier"] = c["depth_multiplier"]
    if "with_13" in c:
        given["expanded"] = c["with_13"]
    return cls(c["out_planes"], cls.Config(**given), c["inp_planes"])


def spab(c):
    channels, out = c["in_channels"], c.get("out_channels") or c["in_channels"]
    return SPAB(out, SPAB.Config(middle=c.get("mid_channels") or channels), channels)


def spabv2(c):
    channels = c["in_channels"]
    out = c.get("out_channels") or channels
    assert not c.get("bias")
    assert (c.get("mid_channels") or channels) == out
    return SPABV2(out, SPABV2.Config(), channels)


def network(name, scale, channels, depth=None, **changes):
    """Return a published network with another width, and another number of positions."""
    base = published(name, scale)
    positions = base.positions[:1] * (len(base.positions) if depth is None else depth)
    fields = {"channels": channels, "positions": positions, **changes}
    return OfficialPicture(Network(base.model_copy(update=fields)))


def rlfn(c, name):
    base = published(name, c["upscale"])
    middle = c.get("mid_channels", 48) if name == "rlfn_prune" else None
    block = {"name": "rlfb", "middle": middle, "features": c.get("esa_channels", 16)}
    position = type(base.positions[0])(trunk=block, residual=False)
    return network(name, c["upscale"], c["feature_channels"], positions=(position,) * len(base.positions))


def ecbsr(c):
    colours = {1: "y", 3: "rgb"}[c["colors"]]
    stem = {"name": "ecb", "activation": c["act_type"]}
    position = type(published("ecbsr_m4c8", 2).positions[0])(
        trunk={**stem, "identity": bool(c["with_idt"])}, residual=False
    )
    fields = {"positions": (position,) * c["module_nums"], "stem": stem, "colours": colours}
    return network("ecbsr_m4c8", c["scale"], c["channel_nums"], **fields)


def build(block, c):
    """Return our module for an official block and its constructor."""
    builders = {
        "conv3xc": lambda: Conv3XC(c),
        "ecb": lambda: edge(ECB, c),
        "edbb": lambda: edge(EDBB, c),
        "spab": lambda: spab(c),
        "spabv2": lambda: spabv2(c),
        "esa": lambda: build_block("esa", c["n_feats"], features=c["esa_channels"]),
        "esa_rfdn": lambda: build_block("esa", c["n_feats"], form="rfdn"),
        "rlfb": lambda: build_block(
            "rlfb", c["in_channels"], middle=c.get("mid_channels"), features=c.get("esa_channels", 16)
        ),
        "rfdb": lambda: build_block("rfdb", c["in_channels"]),
        "imdb": lambda: build_block("imdb", c["in_channels"]),
        "imdb_speed": lambda: build_block("imdb_speed", c["in_channels"]),
        "span": lambda: network("span_c28", c["upscale"], c["feature_channels"]),
        "spanf": lambda: network("spanf", c["upscale"], c["feature_channels"]),
        "spanv2": lambda: network("spanv2", c["upscale"], c["feature_channels"]),
        "ecbsr": lambda: ecbsr(c),
        "rlfn": lambda: rlfn(c, "rlfn"),
        "rlfn_prune": lambda: rlfn(c, "rlfn_prune"),
        "rfdn": lambda: network("rfdn", 4, c["nf"], c["num_modules"]),
        "imdn": lambda: network("imdn", c["upscale"], c["nf"], c["num_modules"]),
        "imdn_rtc": lambda: network("imdn_rtc", c["upscale"], c["nf"], c["num_modules"]),
        "efdn": lambda: network("efdn", c["scale"], c["n_feats"]),
    }
    return builders[block]()


def told(module, x):
    """Return what SPAB tells of its inside."""
    _, first, attention = module.transform(x)
    return {"first": first, "attention": attention}


def names_of(block):
    return lambda _: REGISTRY.entry(block).info.official_names


def names_of_network(name):
    def names(module):
        official_names = PUBLISHED[name].official_names(module.architecture)
        return {official: f"network.{ours}" for official, ours in official_names.items()}

    return names


# Official parameter names and ours, by official block, where the block is not registered by its name.
NAMES = {
    "esa_rfdn": names_of("esa"),
    **{
        block: names_of_network(name)
        for block, name in {
            "span": "span_c28",
            "spanf": "spanf",
            "spanv2": "spanv2",
            "ecbsr": "ecbsr_m4c8_y",
            "rlfn": "rlfn",
            "rlfn_prune": "rlfn_prune",
            "rfdn": "rfdn",
            "imdn": "imdn",
            "imdn_rtc": "imdn_rtc",
            "efdn": "efdn",
        }.items()
    },
}
