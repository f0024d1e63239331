"""A training step written once more, in float64 and as the papers write it. Nothing here comes from gancli.

The config is read as plain numbers and weights come by name; every formula, schedule and draw is this file's own,
so that a mistake in gancli's stands alone. Shapes: pictures (N, C, H, W), points (N, D), scores (N,).
"""

import math
from collections import defaultdict
from hashlib import blake2b

import torch
from torch.nn.functional import conv1d, conv2d, max_pool2d, pad

ROOT_2 = math.sqrt(2)


def stream(seed, name, position):
    """Every draw is a function of the run's seed, its own name, and the images shown."""
    digest = blake2b(f"{seed}/{name}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def latents(config, name, images, count=8):
    """z ~ N(0, 1) or uniform over (-1, 1), times a scale. (N, z_dim)."""
    net, draw = config.network, stream(config.train.seed, name, images)
    shape = count, net.z_dim
    uniform = net.z_distribution == "uniform"
    z = 2 * torch.rand(shape, generator=draw).double() - 1 if uniform else torch.randn(shape, generator=draw).double()
    return z * net.z_scale


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def relu(x):
    return torch.where(x > 0, x, 0 * x)


def elu(x):
    return torch.where(x > 0, x, torch.exp(x) - 1)


ACTIVATIONS = {"leaky": leaky, "relu": relu, "elu": elu}


def doubled(x):
    for axis in range(2, x.ndim):
        x = x.repeat_interleave(2, dim=axis)
    return x


def halved(x):
    x = (x[..., 0::2] + x[..., 1::2]) / 2
    return x if x.ndim == 3 else (x[..., 0::2, :] + x[..., 1::2, :]) / 2


def mixed(alpha, new, old):
    return alpha * new + (1 - alpha) * old


def pixel_norm(x):
    return x / torch.sqrt((x**2).mean(dim=1, keepdim=True) + 1e-8)


def weight_of(w, name, gain):
    """Equalized: N(0, 1) in store, times gain / sqrt(fan-in) in use. Without a gain as it is."""
    weight = w[f"{name}.weight"]
    return weight if gain is None else weight * gain / math.sqrt(weight[0].numel())


def dense(w, name, x, gain=None):
    return x @ weight_of(w, name, gain).T + w.get(f"{name}.bias", 0.0)


def conv(w, name, x, gain=None, *, stride=1, same=True):
    """Cross-correlation; `same` keeps the size at stride 1, an even kernel's odd pixel is on the right and below."""
    weight = weight_of(w, name, gain)
    side = weight.shape[-1]
    x = pad(x, ((side - 1) // 2, side // 2) * (x.ndim - 2)) if same else x
    return (conv1d if x.ndim == 3 else conv2d)(x, weight, w.get(f"{name}.bias"), stride=stride)


def with_spread(x, spread):
    """x and one more channel: each strided group's mean, over channels and places, of its standard deviations."""
    if spread is None:
        return x
    group = len(x) if spread.group_size == "all" else spread.group_size
    strides, added = len(x) // group, []
    for i in range(len(x)):
        members = torch.stack([x[j] for j in range(i % strides, len(x), strides)])
        variance = ((members - members.mean(dim=0)) ** 2).mean(dim=0)
        added.append(torch.sqrt(variance + 1e-8).mean().expand(1, *x.shape[2:]))
    return torch.cat([x, torch.stack(added)], dim=1)


def batch_norm(w, name, x, keep, train):
    """By the batch, whose moments are kept in mind (the variance unbiased there); else by what is kept in mind."""
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    if train:
        old_mean, old_variance = mean, variance
        mean = x.mean(dim=axes)
        variance = ((x - mean.view(shape)) ** 2).mean(dim=axes)
        count = x.numel() / x.shape[1]
        w[f"{name}.running_mean"] = mixed(keep, old_mean, mean.detach())
        w[f"{name}.running_var"] = mixed(keep, old_variance, variance.detach() * count / (count - 1))
    normed = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return normed * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def layer_norm(w, name, x):
    """Over the channels at each place."""
    centered = x - x.mean(dim=1, keepdim=True)
    normed = centered / torch.sqrt((centered**2).mean(dim=1, keepdim=True) + 1e-5)
    return normed * w[f"{name}.weight"].view(1, -1, 1, 1) + w[f"{name}.bias"].view(1, -1, 1, 1)


def normed_and_active(w, name, x, side, keep, train):
    """Norm and activation of a layer, in the order that its side has."""
    activation = ACTIVATIONS[side.activation]
    norms = {
        "none": lambda h: h,
        "batch": lambda h: batch_norm(w, name, h, keep, train),
        "layer": lambda h: layer_norm(w, name, h),
    }
    norm = norms[side.norm]
    return activation(norm(x)) if side.norm_first else norm(activation(x))


def final(w, net, x, train):
    """The last layer's function."""
    if net.output.startswith("bn-"):
        x = batch_norm(w, "output.norm", x, net.bn_decay, train)
    squash = {"tanh": torch.tanh, "bn-tanh": torch.tanh, "bn-clip": lambda h: h.clamp(-1, 1), "linear": lambda h: h}
    return squash[net.output](x)


def progressive_generator(w, z, net, shape, stage, alpha, train):
    """Karras et al. 2018, table 2, with the reference's gain of sqrt(2) / 4 in the first layer."""

    def active(h):
        return pixel_norm(leaky(h)) if net.pixel_norm else leaky(h)

    def block(s, h):
        """Doubled, perhaps blurred, convolved; noise is added before the first of the two activations."""
        h = conv(w, f"blocks.{s - 1}.0", doubled(h), ROOT_2)
        if net.upsampling == "bilinear":
            bias = w[f"blocks.{s - 1}.0.bias"].view(1, -1, 1, 1)
            kernel = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])).double()[None, None] / 16
            h = conv2d((h - bias).flatten(0, 1)[:, None], kernel, padding=1)[:, 0].unflatten(0, h.shape[:2]) + bias
        return active(conv(w, f"blocks.{s - 1}.1", active(h + noise(s)), ROOT_2))

    def noise(s):
        """Eight maps, weighted by the first eight latents at length 1; then by each channel's strength."""
        if not net.noise:
            return 0
        maps, strength = w[f"noise.{s - 1}.maps"], w[f"noise.{s - 1}.strength"]
        sums = torch.zeros(len(z), *maps.shape[1:]).double()
        for n in range(len(z)):
            mean_square = sum(float(z[n, k]) ** 2 for k in range(len(maps))) / len(maps)
            for k in range(len(maps)):
                sums[n] += z[n, k] / math.sqrt(mean_square + 1e-8) * maps[k]
        return sums[:, None] * strength.view(1, -1, 1, 1)

    z = pixel_norm(z) if net.normalize_z else z
    h = dense(w, "dense", z, ROOT_2 / 4)
    h = active(h.view(len(z), -1, 4, 4))
    h = active(conv(w, "first", h, ROOT_2))
    before = h
    for s in range(1, stage + 1):
        before = h
        h = block(s, h)
    rgb = conv(w, f"to_rgb.{stage}", h, 1)
    return rgb if alpha == 1 else mixed(alpha, rgb, doubled(conv(w, f"to_rgb.{stage - 1}", before, 1)))


def progressive_critic(w, x, net, stage, alpha, train):
    """The mirror image: (convolution, mean, leaky) where the two are fused, else (convolution, leaky, mean).

    A residual critic adds a 1 x 1 convolution of what enters the block, and divides by the root of 2.
    """
    h = leaky(conv(w, f"from_rgb.{stage}", x, ROOT_2))
    for s in range(stage, 0, -1):
        past = h
        h = leaky(conv(w, f"blocks.{s - 1}.0", h, ROOT_2))
        h = conv(w, f"blocks.{s - 1}.1", h, ROOT_2)
        h = leaky(halved(h)) if net.fused_down else halved(leaky(h))
        if net.residual_critic:
            h = (h + halved(conv(w, f"shortcuts.{s - 1}", past, 1))) / ROOT_2
        if s == stage and alpha < 1:
            h = mixed(alpha, h, leaky(conv(w, f"from_rgb.{s - 1}", halved(x), ROOT_2)))
    h = leaky(conv(w, "last", with_spread(h, net.minibatch_std), ROOT_2))
    h = leaky(dense(w, "dense", h.flatten(1), ROOT_2))
    return dense(w, "score", h, 1).flatten()


def mlp_layer(w, name, h, side, net, train):
    h = normed_and_active(w, f"{name}.norm", dense(w, f"{name}.dense", h), side, net.bn_decay, train)
    number = int(name.split(".")[1])
    share = side.dropout[number] if number < len(side.dropout) else 0
    if not (train and share):
        return h
    return h * torch.empty(h.shape).bernoulli_(1 - share).double() / (1 - share)  # drawn as float32, as gancli does


def mlp_generator(w, z, net, shape, stage, alpha, train):
    h = z
    for i in range(len(net.generator.hidden)):
        h = mlp_layer(w, f"hidden.{i}", h, net.generator, net, train)
    return final(w, net, dense(w, "last", h).view(len(z), *shape), train)


def mlp_critic(w, x, net, stage, alpha, train):
    """Minibatch std stands before the last hidden layer."""
    h = x.flatten(1)
    for i in range(len(net.critic.hidden) - 1):
        h = mlp_layer(w, f"hidden.{i}", h, net.critic, net, train)
    h = mlp_layer(w, "last.0", with_spread(h, net.minibatch_std), net.critic, net, train)
    return dense(w, "score", h).flatten()


def conv_block(w, name, h, side, layer, net, train):
    """Perhaps doubled, convolved, normed and active, perhaps halved."""
    h = doubled(h) if layer.resample == "up" else h
    h = conv(w, f"{name}.convolution", h, stride=layer.stride, same=layer.padding == "same")
    h = normed_and_active(w, f"{name}.norm", h, side, net.bn_decay, train)
    return halved(h) if layer.resample == "down" else h


def conv_generator(w, z, net, shape, stage, alpha, train):
    """A dense layer to a small base, the layers, a convolution to the channels, the final function."""
    side = net.generator
    h = normed_and_active(w, "norm", dense(w, "dense", z), side, net.bn_decay, train)
    base = [size // 2 ** sum(layer.resample == "up" for layer in side.layers) for size in shape[1:]]
    h = h.view(len(z), -1, *base)
    for i, layer in enumerate(side.layers):
        h = conv_block(w, f"layers.{i}", h, side, layer, net, train)
    return final(w, net, conv(w, "last", h), train)


def conv_critic(w, x, net, stage, alpha, train):
    h = x
    for i, layer in enumerate(net.critic.layers):
        h = conv_block(w, f"layers.{i}", h, net.critic, layer, net, train)
    h = with_spread(h, net.minibatch_std)
    for i, layer in enumerate(net.critic.last):
        h = conv_block(w, f"last.{i}", h, net.critic, layer, net, train)
    h = h.flatten(1)
    for i in range(len(net.critic.dense)):
        h = relu(dense(w, f"dense.{2 * i}", h))
    score = dense(w, "score", h).flatten()
    return torch.tanh(score) if net.critic.score == "tanh" else score


def superres_generator(w, x, net, shape, stage, alpha, train):
    """Johnson et al. 2016: residual blocks between a 9x9 convolution and two doublings; doubled, then convolved."""

    def normed(name, h):
        return batch_norm(w, name, h, net.bn_decay, train)

    h = relu(normed("first_norm", conv(w, "first", x)))
    for i in range(net.blocks):
        inner = relu(normed(f"blocks.{i}.first_norm", conv(w, f"blocks.{i}.first", h)))
        h = h + normed(f"blocks.{i}.second_norm", conv(w, f"blocks.{i}.second", inner))
    for i in range(2):
        h = relu(normed(f"up_norms.{i}", conv(w, f"ups.{i}", doubled(h))))
    return final(w, net, conv(w, "last", h), train)


def smoothed(x, padding):
    """Every channel convolved with [1 3 3 1] / 8 in both directions, zeros outside."""
    row = torch.tensor([1, 3, 3, 1]).double() / 8
    kernel = torch.outer(row, row)[None, None]
    n, c, h, w = x.shape
    return conv2d(x.reshape(n * c, 1, h, w), kernel, padding=padding).unflatten(0, (n, c)).squeeze(2)


def residual_blocks(w, name, h, net):
    """Huang et al. 2024: x + W3 a(W2 a(W1 x + b1) + b2), W2 separately on each 16 of twice the channels."""
    for i in range(net.blocks):
        block = f"{name}.{i}"
        wide = leaky(conv2d(h, w[f"{block}.widen.weight"], w[f"{block}.widen.bias"]))
        kernel, size = w[f"{block}.grouped.weight"], net.group_width
        parts = [conv2d(wide[:, a : a + size], kernel[a : a + size], padding=1) for a in range(0, len(kernel), size)]
        wide = leaky(torch.cat(parts, dim=1) + w[f"{block}.grouped.bias"].view(1, -1, 1, 1))
        h = h + conv2d(wide, w[f"{block}.narrow.weight"])
    return h


def changed(w, name, h):
    return conv2d(h, w[f"{name}.weight"]) if f"{name}.weight" in w else h


def residual_generator(w, z, net, shape, stage, alpha, train):
    """A 4x4 basis times a linear function of z; 1x1, zeros between the pixels and the filter times 4; 1x1 to RGB."""
    h = (z @ w["basis.linear.weight"].T)[:, :, None, None] * w["basis.weight"]
    h = residual_blocks(w, "blocks.0", h, net)
    for i in range(1, len(net.channels)):
        h = changed(w, f"changes.{i - 1}", h)
        spread = h.new_zeros(*h.shape[:2], 2 * h.shape[2], 2 * h.shape[3])
        spread[:, :, ::2, ::2] = h
        h = residual_blocks(w, f"blocks.{i}", 4 * smoothed(spread, 2)[:, :, :-1, :-1], net)
    return conv2d(h, w["to_rgb.weight"])


def residual_critic(w, x, net, stage, alpha, train):
    """Mirrored: the filter and every second pixel, then 1x1; at 4x4 a kernel for each channel, and a linear score."""
    h = conv2d(x, w["from_rgb.weight"])
    for i in range(len(net.channels) - 1):
        h = residual_blocks(w, f"blocks.{i}", h, net)
        h = changed(w, f"changes.{i}", smoothed(h, 1)[:, :, ::2, ::2])
    h = residual_blocks(w, f"blocks.{len(net.channels) - 1}", h, net)
    if net.minibatch_std:
        h = with_spread(h, net.minibatch_std)
    return ((h * w["pool.weight"]).sum(dim=(2, 3)) @ w["score.weight"].T).flatten()


NETWORKS = {
    "residual": (residual_generator, residual_critic),
    "progressive": (progressive_generator, progressive_critic),
    "mlp": (mlp_generator, mlp_critic),
    "conv": (conv_generator, conv_critic),
    "superres": (superres_generator, conv_critic),
}


def log_sigmoid(t):
    return -torch.log(1 + torch.exp(-t))


GAMES = {  # (critic's side, generator's side) of the scores of reals a and of fakes b
    "wasserstein": (lambda a, b: b - a, lambda a, b: -b),
    "non-saturating": (lambda a, b: -log_sigmoid(a) - log_sigmoid(-b), lambda a, b: -log_sigmoid(b)),
    "hinge": (lambda a, b: relu(1 - a) + relu(1 + b), lambda a, b: -b),
    "least-squares": (lambda a, b: ((a - 1) ** 2 + b**2) / 2, lambda a, b: (b - 1) ** 2 / 2),
    "relativistic": (lambda a, b: -log_sigmoid(a - b), lambda a, b: -log_sigmoid(b - a)),
}


def squared_slopes(D, x):
    """|grad_x D(x)|^2 of every sample. The scores of a batch depend on one another, so their sum is differentiated."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return torch.stack([(gradient[i] ** 2).sum() for i in range(len(x))])


def penalties(D, x, y, u, loss):
    """lambda E(|grad D(x^)| - 1)^2 + r1 / 2 E|grad D(x)|^2 + r2 / 2 E|grad D(y)|^2, x^ = x + u (y - x)."""
    total = torch.zeros((), dtype=torch.float64)
    if loss.r1:
        total = total + loss.r1 / 2 * squared_slopes(D, x).mean()
    if loss.r2:
        total = total + loss.r2 / 2 * squared_slopes(D, y).mean()
    if loss.gradient_penalty:
        between = torch.stack([x[i] + u[i] * (y[i] - x[i]) for i in range(len(x))])
        total = total + loss.gradient_penalty * ((torch.sqrt(squared_slopes(D, between)) - 1) ** 2).mean()
    return total


def moment_features(x, moments):
    """Every value; or every place a sample of its channel; or means of blocks. (N', F)."""
    if moments.over == "channel":
        return torch.cat([x[i].flatten(1).T for i in range(len(x))])
    if moments.over == "pooled":
        p, (n, c, h, w) = moments.pool, x.shape
        return x.reshape(n, c, h // p, p, w // p, p).mean(dim=(3, 5)).flatten(1)
    return x.flatten(1)


def moment_penalty(x, y, moments):
    """w sum_f |mean y_f - mean x_f| + w sum_f |var y_f - var x_f|, biased."""
    x, y = moment_features(x, moments), moment_features(y, moments)
    variances = [((side - side.mean(dim=0)) ** 2).mean(dim=0) for side in (x, y)]
    return moments.weight * (abs(y.mean(dim=0) - x.mean(dim=0)).sum() + abs(variances[1] - variances[0]).sum())


VGG = ("conv1_1", "conv1_2", "pool", "conv2_1", "conv2_2", "pool", "conv3_1")


def vgg_features(w, x, wanted):
    """VGG-16 on pictures in [-1, 1]: its own color scale, 3x3 convolutions, ReLU, 2x2 maxima."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]).double(), torch.tensor([0.229, 0.224, 0.225]).double()
    h, found = ((x + 1) / 2 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1), {}
    for name in VGG:
        if name == "pool":
            h = max_pool2d(h, 2)
        elif f"{name}_weight" in w:
            h = relu(conv2d(h, w[f"{name}_weight"], w[f"{name}_bias"], padding=1))
            found[name] = h
    return {name: found[name] for name in wanted}


def perceptual_distance(w, x, y, perceptual):
    """w sum over layers of their weight times the mean squared difference of the features."""
    of_x, of_y = (vgg_features(w, side, perceptual.layers) for side in (x, y))
    parts = [weight * ((of_y[name] - of_x[name]) ** 2).mean() for name, weight in perceptual.layers.items()]
    return perceptual.weight * sum(parts)


def half_cosine(curve, images, duration):
    """From one value to the other as cosine annealing does it, 1 if there is no curve."""
    if curve is None:
        return 1.0
    t = images / duration / curve.over
    return curve.end if t >= 1 else curve.end + (curve.start - curve.end) * (1 + math.cos(t * math.pi)) / 2


class Adam:
    """Kingma and Ba 2015, algorithm 1; a parameter that has no gradient has no step."""

    def __init__(self, betas, eps):
        self.betas, self.eps = betas, eps
        self.forget()

    def forget(self):
        self.m, self.v, self.t = defaultdict(float), defaultdict(float), defaultdict(int)

    def step(self, w, gradients, rate_of):
        b1, b2 = self.betas
        for name, g in gradients.items():
            self.t[name] += 1
            self.m[name] = b1 * self.m[name] + (1 - b1) * g
            self.v[name] = b2 * self.v[name] + (1 - b2) * g**2
            m, v = self.m[name] / (1 - b1 ** self.t[name]), self.v[name] / (1 - b2 ** self.t[name])
            w[name] = (w[name].detach() - rate_of(name) * m / (torch.sqrt(v) + self.eps)).requires_grad_()


def gradients_of(loss, w):
    learning = {name: tensor for name, tensor in w.items() if tensor.requires_grad}
    found = torch.autograd.grad(loss, list(learning.values()), allow_unused=True)
    return {name: g for name, g in zip(learning, found, strict=True) if g is not None}


def doubles(network):
    """The weights of a network by name, in float64; what it learns requires a gradient."""
    learned = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    tensors = {name: t.detach().double().clone() for name, t in network.state_dict().items()}
    return {name: tensor.requires_grad_(name in learned) for name, tensor in tensors.items()}


class Training:
    """A run from the weights of a TrainState on, with its own clock, data order, networks, losses and optimizers."""

    def __init__(self, config, facts, state, values, faster=lambda side, name: 1.0):
        """facts: shape of a full-size sample, center and scale. faster: a weight's own factor of the rate."""
        self.config, self.facts, self.values, self.faster = config, facts, values, faster
        self.G, self.D, self.ema = doubles(state.G), doubles(state.D), doubles(state.ema)
        self.images, self.turns = state.images, state.generator_steps
        self.judged = sum(map(self.critic_steps, range(self.turns)))
        self.vgg = doubles(state.features) if state.features is not None else None
        betas, eps = config.optimizer.betas, config.optimizer.eps
        self.adam_G, self.adam_D = Adam(betas, eps), Adam(betas, eps)
        self.losses, self.gradients_G, self.gradients_D = {}, {}, {}

    def segment(self):
        """(number, stage, alpha): a stable time, then for each further stage a fade and a stable time."""
        growth, stages = self.config.growth, self.stages()
        number, start = 0, 0
        while True:
            fading = number % 2 == 1
            length = growth.fade if fading else growth.stable
            if number == 2 * (stages - 1) or self.images < start + length:
                return number, (number + 1) // 2, (self.images - start) / length if fading else 1.0
            number, start = number + 1, start + length

    def stages(self):
        net = self.config.network
        return int(math.log2(net.resolution // 4)) + 1 if net.family == "progressive" else 1

    def generate(self, w, z, *, train=True):
        _, stage, alpha = self.at
        return NETWORKS[self.config.network.family][0](w, z, self.config.network, self.facts.shape, stage, alpha, train)

    def judge(self, x):
        _, stage, alpha = self.at
        return NETWORKS[self.config.network.family][1](self.D, x, self.config.network, stage, alpha, True)

    def packs(self, x):
        """PacGAN: channels of consecutive samples, one set after the other."""
        m = self.config.network.pack
        return torch.stack([torch.cat([*x[i : i + m]]) for i in range(0, len(x), m)])

    def of_stage(self, key):
        """What growth says of the stage itself, else train of all."""
        own = self.config.growth.at.get(4 * 2 ** self.at[1])
        value = getattr(own, key, None)
        return getattr(self.config.train, key) if value is None else value

    def latents(self, name):
        return latents(self.config, name, self.images, self.of_stage("batch_size"))

    def reals(self):
        """The next batch: of this epoch's order, at this stage's size, some flipped, all faded."""
        seed, batch = self.config.train.seed, self.of_stage("batch_size")
        rows = []
        for position in range(self.images, self.images + batch):
            epoch, place = divmod(position, len(self.values))
            rows.append(int(torch.randperm(len(self.values), generator=stream(seed, "order", epoch))[place]))
        x = torch.from_numpy(self.values[rows]).double()
        if x.ndim != 4:  # signals and points
            return (x - self.facts.center) / self.facts.scale
        flips = torch.rand(batch, generator=stream(seed, "mirror", self.images)) < 0.5
        return self.seen(x, flips if self.config.data.mirror else None)

    def seen(self, pictures, flips=None):
        """Bytes (N, H, W, C) as the networks see them now."""
        number, stage, alpha = self.at
        x = pictures.double().movedim(3, 1) / 127.5 - 1
        for _ in range(self.stages() - 1 - stage):
            x = halved(x)
        if flips is not None:
            x = torch.stack([side.flip(2) if flip else side for side, flip in zip(x, flips, strict=True)])
        return mixed(alpha, x, doubled(halved(x))) if number % 2 else x

    def critic_steps(self, turn):
        steps = self.config.train.critic_steps
        every = steps.every and turn % steps.every == 0
        return steps.boost if turn < steps.first or every else steps.base

    def rate(self):
        """The run's rate, which falls in a straight line over the last `share` of the images."""
        decay, lr = self.config.optimizer.decay, self.of_stage("lr") * self.annealed("lr")
        if decay is None:
            return lr
        left = 1 - self.images / self.config.train.duration
        return lr if left >= decay.share else lr * (decay.to + (1 - decay.to) * left / decay.share)

    def annealed(self, name):
        return half_cosine(getattr(self.config.anneal, name), self.images, self.config.train.duration)

    def betas(self):
        first, second = self.config.optimizer.betas
        return first, self.annealed("beta2") if self.config.anneal.beta2 else second

    def turn(self):
        """Some critic steps, one generator step, the average."""
        began, self.at, self.losses = self.images, self.segment(), {}
        for _ in range(self.critic_steps(self.turns)):
            x = self.reals()
            self.critic_step(x, self.judged)
            self.judged += 1
            self.images += len(x)
        self.generator_step(x)
        self.average(self.images - began)
        self.losses = {name: float(value.detach()) for name, value in self.losses.items()}
        self.turns += 1
        if self.config.optimizer.reset == "both" and self.segment()[0] != self.at[0]:
            self.adam_G.forget()
            self.adam_D.forget()

    def critic_step(self, x, number):
        """Down E f(D(x), D(y)) + drift E D(x)^2 + n penalties, these on every n-th step only."""
        config, loss = self.config, self.config.loss
        if loss.adversarial == "none":
            return
        self.z = self.latents("latents")
        self.noise("critic noise")
        self.statistics_before = {name: t for name, t in self.G.items() if "running" in name}
        y = self.generate(self.G, self.z, train=config.train.critic_fakes == "train").detach()
        u = torch.rand(len(x), generator=stream(config.train.seed, "between", self.images)).double()
        x, y = self.packs(x), self.packs(y)
        u = u[: len(x)]
        a, b = self.judge(x), self.judge(y)
        total = GAMES[loss.adversarial][0](a, b).mean() + loss.drift * (a**2).mean()
        if number % loss.penalty_interval == 0:
            penalty = self.annealed("penalty") * penalties(self.judge, x, y, u, loss)
            total = total + loss.penalty_interval * penalty
            self.losses["penalty"] = penalty
        self.losses |= {"critic_loss": total, "d_real": a.mean(), "d_fake": b.mean(), "score_gap": a.mean() - b.mean()}
        self.gradients_D = gradients_of(total, self.D)
        rate, self.adam_D.betas = self.rate(), self.betas()
        self.adam_D.step(self.D, self.gradients_D, lambda name: rate * self.faster("D", name))

    def generator_step(self, x):
        """Down E g(D(x), D(y)) + moments + features, on the last critic step's latents or on fresh ones."""
        config, loss = self.config, self.config.loss
        y, total = self.fakes_to_learn_from(x), torch.zeros((), dtype=torch.float64)
        if loss.adversarial != "none":
            a, b = self.judge(self.packs(x)).detach(), self.judge(self.packs(y))
            best = sorted(range(len(b)), key=lambda i: -b[i])[: math.ceil(loss.top_k * self.annealed("top_k") * len(b))]
            total = torch.stack([GAMES[loss.adversarial][1](a[i], b[i]) for i in best]).mean()
        if loss.moments is not None:
            moments = moment_penalty(x, y, loss.moments)
            total, self.losses["moments"] = total + moments, moments
        if loss.perceptual is not None:
            distance = perceptual_distance(self.vgg, x, y, loss.perceptual)
            total, self.losses["perceptual"] = total + distance, distance
        self.losses["generator_loss"] = total
        self.gradients_G = gradients_of(total, self.G)
        rate, self.adam_G.betas = self.rate() * config.optimizer.generator_lr_factor, self.betas()
        self.adam_G.step(self.G, self.gradients_G, lambda name: rate * self.faster("G", name))

    def fakes_to_learn_from(self, x):
        if self.config.network.family == "superres":
            return self.generate(self.G, halved(halved(x)))
        if not self.shares_fakes():
            self.noise("generator noise")
            return self.generate(self.G, self.latents("generator latents"))
        self.G |= self.statistics_before  # the same fakes: they count in the moving statistics once
        torch.manual_seed(self.noise_seed)
        return self.generate(self.G, self.z)

    def noise(self, name):
        """Dropout draws from torch's global generator, which begins anew at every position."""
        self.noise_seed = stream(self.config.train.seed, name, self.images).initial_seed()
        torch.manual_seed(self.noise_seed)

    def shares_fakes(self):
        return self.config.train.shared_fakes and self.config.train.critic_fakes == "train"

    def average(self, shown):
        """After a half-life of images the old average weighs one half."""
        train, origin = self.config.train, self.config.origin
        seen = self.images + (origin.images if origin else 0)
        half_life = train.ema_half_life * self.annealed("ema_half_life")
        half_life = min(half_life, train.ema_ramp * seen) if train.ema_ramp else half_life
        keep = 2 ** (-shown / half_life) if half_life else 0.0
        for name, now in self.G.items():
            averaged = "running" not in name and "num_batches" not in name
            self.ema[name] = mixed(keep, self.ema[name], now.detach()) if averaged else now.detach()
