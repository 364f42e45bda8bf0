# %% [markdown]
# # 01 · Markov chains
#
# **A cat sleeps, plays and eats, and what it does next depends only on what it does now. If you leave the house for a day, what can you still say about the cat when you come back?** It turns out that you know everything and nothing: what the cat was doing when you left no longer matters at all, and exactly for that reason you can say, to as many digits as you like, how likely it is to be asleep.
#
# That forgetting is the engine of every diffusion model. A picture is put into a chain that forgets, step by step, until only noise is left; the art, from lesson 03 on, is to run the film backwards.
#
# **After this lesson you can** write a random process as a matrix, say where it is after $n$ steps, find the law it settles into in three ways, say how fast it settles and when it does not, build a chain for any law that you want, and explain why one particular chain turns every picture into the same bell curve.
#
# **Before it** you need Python, a little torch, and what a probability is. Eigenvectors are recalled where they are used.
#
# **Time** about 40 minutes to read (4,000 words), half a minute to run on two cores, and one to two hours for all six exercises.
#
# **Where you are** [00 start here](00_start_here.ipynb) → **01 Markov chains** → [02 forward diffusion](02_forward_diffusion.ipynb) → 03 DDPM → 04 DDIM → guidance → text to image

# %%
import torch

from labkit.lab import checks, plots, quiz, show_source
from labkit.lab.chain_plot import cat_cloud, cloud_picture, draw_chain, draw_walk
from labkit.lab.widgets import Filmstrip, Redraw, watch
from labkit.lab.widgets.chain_editor import ChainEditor
from labkit.markov import (
    Chain,
    GaussianChain,
    by_eigenvector,
    by_linear_solve,
    by_power_iteration,
    metropolis_hastings,
    total_variation,
)

plots.use_style()
torch.set_printoptions(precision=4, sci_mode=False)
rain = Chain([[0.7, 0.3], [0.1, 0.9]], ("rain", "dry"))
cat = Chain([[0.9, 0.075, 0.025], [0.15, 0.8, 0.05], [0.25, 0.25, 0.5]], ("sleep", "play", "eat"))
pi = cat.stationary()
asleep = cat.start("sleep")  # all the probability on the first state: (1, 0, 0)

# %% [markdown]
# ## 1 · See it first
#
# Above: three cats. When you leave, one is asleep (blue), one is playing (orange), one is eating (green). The bars say how likely each of them is to sleep, play or eat after $n$ steps of ten minutes. Below: a cloud of four thousand points, each of which shrinks a little and is nudged a little at every step. Two chains that seem to have nothing in common. Watch both from left to right.

# %%
figure, axes = plots.subplots(2, 5, size=(10, 4.6), sharey="row")
for n, axis in zip((0, 2, 5, 10, 30), axes[0]):
    for k, start in enumerate(cat.states):
        places = [j + 0.27 * (k - 1) for j in range(3)]
        axis.bar(places, cat.distribution(start, n), 0.25, color=plots.COLORS[k])
    axis.set_xticks(range(3), cat.states)
    axis.set_title(f"n = {n}")

x, generator = cat_cloud(4000, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
moments = (0, 2, 10, 60, 900)
for n in range(max(moments) + 1):
    if n in moments:
        axis = axes[1, moments.index(n)]
        axis.scatter(*x.T, s=0.6, color=plots.BLACK, linewidths=0)
        axis.set(xlim=(-4, 4), ylim=(-3.5, 3.5), aspect="equal", title=f"n = {n}")
    x = GaussianChain(beta=0.005).step(x, generator)
axes[0, 0].set_ylabel("probability")
plots.show(figure, "Above, the laws of three cats that start asleep, playing and eating become one "
           "and the same. Below, a cloud in the shape of a cat's face becomes a round blob.")  # fmt: skip

# %% [markdown]
# At the left, everything depends on the start: three cats, three laws; a cloud with ears. At the right, nothing does: the three cats have become one, and the cloud is a round blob that could have been anything. **Both chains forget where they started, and both settle into a law of their own.** This lesson makes that sentence exact, for the cat first, because there every number can be had by hand; then for the cloud, because that one is the forward half of a diffusion model.

# %% [markdown]
# ## 2 · The idea
#
# ### What is a stochastic process? Tomorrow's rain
#
# A **stochastic process** is a quantity that changes at random in time: $X_0, X_1, X_2, \dots$, one random variable per day, and a rule that says how they hang together. How they hang together is everything. Here are two towns in which it rains on one day in four. Would you need the same umbrella?

# %%
generator = torch.Generator().manual_seed(54)
remembers = rain.walk(119, "dry", generator)
forgets = [int(torch.rand((), generator=generator) > 0.25) for _ in range(120)]
figure, axes = plots.subplots(2, size=(10, 2.6), sharex=True)
for axis, path in zip(axes, (remembers, forgets)):
    draw_walk(axis, path, rain.states)
axes[0].set_title("A town where today's weather shapes tomorrow's")
axes[1].set_title("A town that flips the same coin every day")
axes[1].set_xlabel("day")
plots.show(figure, "120 days of weather in two towns: in the first, rain comes in spells of several "
           "days; in the second, rainy days are scattered.")  # fmt: skip

# %% [markdown]
# In the second town the days are independent: yesterday tells nothing. In the first, rain comes in spells. Its rule is short: *after a rainy day it rains again with probability 0.7; after a dry day, with probability 0.1.* To guess tomorrow's weather you need today's, and then **yesterday's adds nothing**. That is the Markov property,
#
# $$\Pr(X_{n+1}=j \mid X_n=i,\; X_{n-1}=h,\;\dots,\;X_0=a) \;=\; \Pr(X_{n+1}=j \mid X_n=i) \;=\; P_{ij},$$
#
# and a process that has it is a **Markov chain**. When the rule is the same every day, a single table holds it all: the **transition matrix** $P$. Row $i$ answers the question "I am in $i$; where to next?", so every row is a list of probabilities, and **every row sums to 1**.
#
# Our cat is such a chain, with three states and a look every ten minutes:
#
# | now ↓ &nbsp; next → | sleep | play | eat |
# |---|---|---|---|
# | **sleep** | 0.9 | 0.075 | 0.025 |
# | **play** | 0.15 | 0.8 | 0.05 |
# | **eat** | 0.25 | 0.25 | 0.5 |
#
# The same table as a picture: a circle for each state, an arrow for each possible step, as wide as the step is likely.

# %%
figure, axes = plots.subplots(1, 2, size=(10, 4), width_ratios=(1, 1))
draw_chain(axes[0], rain)
draw_chain(axes[1], cat)
axes[0].set_title("The rain")
axes[1].set_title("The cat")
plots.show(figure, "Transition graphs: rain and dry with arrows of 0.7, 0.3, 0.1 and 0.9; sleep, "
           "play and eat with the nine probabilities of the table.")  # fmt: skip

# %% [markdown]
# To **walk** the chain is to throw a loaded die per step, the die of the row you are in. Here is a whole day, 144 steps:

# %%
day = cat.walk(144, "sleep", torch.Generator().manual_seed(3))
figure, axis = plots.subplots(size=(10, 1.9))
draw_walk(axis, day, cat.states, hours=1 / 6)
axis.set(title="One day of the cat", xlabel="hour", xticks=range(0, 25, 3))
plots.show(figure, "A band of 24 hours: long stretches of sleep, shorter ones of play, and short "
           "meals in between.")  # fmt: skip

# %% [markdown]
# Another day would look different. The walk is random, so it makes little sense to ask what the cat *will* do. But the **law** of the walk, the probability of each state at each time, is not random at all. From here on we follow the law.

# %% [markdown]
# ## 3 · The derivation
#
# ### 3.1 One step is one matrix product
#
# Write $S_n$ for the row of probabilities at step $n$: $(S_n)_i = \Pr(X_n = i)$. The cat can only be in $j$ at the next look by being in *some* $i$ now and stepping from there to $j$. These ways exclude each other, so their probabilities add up (the law of total probability):
#
# $$(S_{n+1})_j=\Pr(X_{n+1}=j)=\sum_i \underbrace{\Pr(X_n=i)}_{(S_n)_i}\;\underbrace{\Pr(X_{n+1}=j\mid X_n=i)}_{P_{ij}}=(S_nP)_j .$$
#
# So **one step is one product, with the row on the left**: $S_{n+1}=S_nP$. A check by brute force: let 20,000 cats, all asleep, take one step each, and count.

# %%
cats = torch.zeros(20_000, dtype=torch.long)  # state 0 is "sleep"
cats = torch.multinomial(cat.P[cats], 1, generator=torch.Generator().manual_seed(0))[:, 0]
counted = torch.bincount(cats, minlength=3) / len(cats)
print("by the product:", asleep @ cat.P)
print("by 20,000 cats:", counted)
assert total_variation(counted, asleep @ cat.P) < 0.01

# %% [markdown]
# ### 3.2 Many steps are a power
#
# Do it again, and again: $S_2=S_1P=S_0P^2$, and so on,
#
# $$\boxed{\;S_n=S_0P^n\;}$$
#
# (Who counts the first look as number one writes the same thing as $S_{1+n}=S_1P^n$: the power is the number of *steps*.) The entry $(P^n)_{ij}$ is the probability to go from $i$ to $j$ in $n$ steps, by whatever way. And since $P^{m+n}=P^mP^n$, a journey of seven steps is one of three and then one of four: the **Chapman–Kolmogorov equation**, which will come back in lesson 02 as "a thousand small steps of noise are one big one". Look at how the rows of $P^n$ change:

# %% tags=["nbval-check-output"]
for n in (1, 4, 16, 64):
    print(f"P^{n} =", torch.linalg.matrix_power(cat.P, n).numpy().round(4), sep="\n")
seven, three, four = (torch.linalg.matrix_power(cat.P, n) for n in (7, 3, 4))
print("P^7 equals P^3 P^4:", torch.allclose(seven, three @ four, rtol=0, atol=1e-14))

# %% [markdown]
# The rows grow alike. Row $i$ is where a cat that started in $i$ is after $n$ steps; once the rows are equal, **the start is forgotten**. The same as a picture, one panel for each start:

# %%
figure, axes = plots.subplots(1, 3, size=(10, 3.1), sharey=True)
for axis, start in zip(axes, cat.states):
    rows = torch.stack([cat.distribution(start, n) for n in range(31)])
    for k, name in enumerate(cat.states):
        axis.plot(rows[:, k], color=plots.COLORS[k], label=name)
        axis.axhline(pi[k], color=plots.COLORS[k], linewidth=1, linestyle="--")
    axis.set(title=f"starting in {start}", xlabel="steps n")
axes[0].set_ylabel("probability")
axes[2].legend(loc="upper right")
plots.show(figure, "From each of the three starts, the probabilities of sleep, play and eat go to "
           "the same dashed levels, 0.625, 0.3125 and 0.0625.")  # fmt: skip

# %% [markdown]
# ### 3.3 What remains: the stationary law
#
# Where do the dashed lines lie? If $S_n$ settles at some $\pi$, then one more step changes nothing:
#
# $$\pi P=\pi,\qquad \sum_i\pi_i=1 .$$
#
# Such a $\pi$ is called **stationary**. Stationary does not mean that the cat sits still; it means that as many cats come into each state as leave it.
#
# For our cat we can even do it by hand. Guess that the traffic balances between *each pair* of states, as many from $i$ to $j$ as from $j$ to $i$:
#
# $$\pi_iP_{ij}=\pi_jP_{ji}\qquad\text{(detailed balance)}.$$
#
# Then $\pi_{\text{play}}/\pi_{\text{sleep}}=0.075/0.15=\tfrac12$ and $\pi_{\text{eat}}/\pi_{\text{sleep}}=0.025/0.25=\tfrac1{10}$. So the three are as $10:5:1$, and
#
# $$\pi=\left(\tfrac{10}{16},\tfrac5{16},\tfrac1{16}\right)=(0.625,\;0.3125,\;0.0625).$$
#
# Fifteen hours of sleep a day, seven and a half of play, an hour and a half over the bowl. The guess was a lucky one, since the pair play–eat has to balance too; but if it holds, $\pi$ is stationary without more ado: sum $\pi_iP_{ij}=\pi_jP_{ji}$ over $i$, and the right side is $\pi_j$, because the rows sum to 1. It is sufficient, not necessary: a chain that runs round in a circle has a stationary law and no balance.

# %% tags=["nbval-check-output"]
by_hand = torch.tensor([10, 5, 1], dtype=torch.float64) / 16
traffic = by_hand[:, None] * cat.P  # (3, 3): how many cats go from i to j
print("traffic from row to column:", traffic.numpy(), sep="\n")
print("in detailed balance:", torch.allclose(traffic, traffic.T, rtol=0, atol=1e-15))
print("a step changes nothing:", torch.allclose(by_hand @ cat.P, by_hand, rtol=0, atol=1e-15))
print("hours a day:", dict(zip(cat.states, (24 * by_hand).tolist())))

# %% [markdown]
# When no guess works, there are three general ways.
#
# 1. **Solve.** $(P^\top-I)\,\pi^\top=0$ is $n$ equations, of which one is superfluous (all the columns of $P-I$ add up to zero); put $\sum_i\pi_i=1$ in its place.
# 2. **Eigenvector.** $\pi P=\pi$ says that $\pi$ is a *left* eigenvector of $P$ with eigenvalue 1. Left! The right one is $(1,1,1)^\top$, for every chain on earth, and says no more than that the rows sum to 1.
# 3. **Power iteration.** Start anywhere and keep multiplying, as nature does.

# %% tags=["nbval-check-output"]
for way in (by_linear_solve, by_eigenvector, by_power_iteration):
    law = way(cat.P)
    exact = (law - by_hand).abs().max() < 1e-12
    print(f"{way.__name__:18}  {law.numpy().round(6)}  right to 12 digits: {exact}")

# %% [markdown]
# ### 3.4 How fast it forgets
#
# To say how far two laws are apart we need a ruler. The **total variation distance**
#
# $$\mathrm{TV}(p,q)=\tfrac12\sum_i|p_i-q_i|$$
#
# is the most that any event can differ in probability, 0 for equal laws, 1 for laws that never overlap. If someone offers you bets at the odds of $q$ while the truth is $p$, it is the edge of your best bet.
#
# Now write the start as a sum of left eigenvectors of $P$, $S_0=\pi+c_2v_2+c_3v_3$. Multiplying by $P$ multiplies each by its eigenvalue, so after $n$ steps
#
# $$S_n=\pi+c_2\lambda_2^n\,v_2+c_3\lambda_3^n\,v_3\qquad\Longrightarrow\qquad \mathrm{TV}(S_n,\pi)\le C\,|\lambda_2|^n .$$
#
# All that is left of the start are the terms with $\lambda_2,\lambda_3$, and they shrink like powers. By hand once more: the eigenvalues sum to the trace, $1+\lambda_2+\lambda_3=2.2$, and multiply to the determinant, $\lambda_2\lambda_3=0.34$. Hence $\lambda^2-1.2\lambda+0.34=0$, and $\lambda_{2,3}=0.6\pm\sqrt{0.02}=0.6\pm0.1\sqrt2$.

# %% tags=["nbval-check-output"]
print("eigenvalues:", cat.eigenvalues().real.numpy().round(7), " by hand:", 0.6 + 0.1 * 2**0.5)
for n in (1, 5, 10, 20):
    distance = total_variation(cat.distribution("sleep", n), pi)
    print(f"TV after {n:2} steps from sleep: {distance:.6f}")
far, farther = (total_variation(cat.distribution("sleep", n), pi) for n in (40, 41))
print(f"much later, one more step multiplies it by {farther / far:.6f}")

# %% [markdown]
# On a logarithmic axis a power is a straight line, and its slope is $\log|\lambda_2|$. Each start has its own height (those of sleep and of eat happen to be close), but once $\lambda_3^n$ is gone, all have **one slope**: that belongs to the chain.

# %%
figure, axis = plots.subplots(size=(8, 3.4))
steps = torch.arange(41)
for k, start in enumerate(cat.states):
    distance = [total_variation(cat.distribution(start, n), pi) for n in range(41)]
    axis.semilogy(steps, distance, color=plots.COLORS[k], label=f"from {start}")
pace = cat.eigenvalues()[1].abs()
axis.semilogy(steps, pace**steps, "--", color=plots.BLACK, linewidth=1, label=r"$|\lambda_2|^n$")
axis.set(title="The distance from the stationary law falls like a power", xlabel="steps n",
         ylabel="total variation")  # fmt: skip
axis.legend()
plots.show(figure, "Total variation against steps on a logarithmic axis: three parallel straight "
           "lines with the slope of the dashed line, the second eigenvalue to the n.")  # fmt: skip

# %% [markdown]
# With $|\lambda_2|=0.741$ the distance halves every $\log 0.5/\log 0.741\approx2.3$ steps, 23 minutes. After three hours, nothing that you saw when you left is worth a bet of a percent.
#
# When is $|\lambda_2|<1$? On finitely many states it is enough that
# - **every state can be reached from every other** (the chain is *irreducible*), which makes $\pi$ unique, and
# - **the lengths of its round trips have no common divisor but 1** (it is *aperiodic*; one state that may stay where it is will do).
#
# Section 8 breaks each of them.

# %% [markdown]
# ### 3.5 The other way round: a chain for the law that you want
#
# So far: given $P$, find $\pi$. Turn it round. **Given $\pi$, find a $P$** that settles there. Why would you? Because often you know $\pi$ only up to a factor, as weights $w_i$ whose sum nobody can compute, and still want to draw from it. A chain that walks there does it for you.
#
# The cat lies on a round rug with 24 places, and some are sunnier. It *proposes* to move by some chain $q$, here one place to the left or right, by a fair coin. Left alone, it would spread evenly. So we let it **refuse** some moves, such that the traffic balances, $\pi_iq_{ij}a_{ij}=\pi_jq_{ji}a_{ji}$. If the traffic $\pi_iq_{ij}$ is heavier than what comes back, thin it out to just that; if it is lighter, let all of it pass:
#
# $$a_{ij}=\min\left\{1,\;\frac{\pi_j\,q_{ji}}{\pi_i\,q_{ij}}\right\}.$$
#
# Both directions now carry $\min(\pi_iq_{ij},\pi_jq_{ji})$: detailed balance, hence stationary. Whoever is refused stays. Only *ratios* of $\pi$ occur, so the factor cancels. This is the **Metropolis–Hastings** chain.

# %%
places = torch.arange(24)
gap = lambda a: torch.minimum((places - a) % 24, (a - places) % 24)  # noqa: E731
sunshine = 1 + 9 * torch.exp(-(gap(5) ** 2) / 5) + 6 * torch.exp(-(gap(15) ** 2) / 12)
one_aside = (torch.eye(24).roll(1, 0) + torch.eye(24).roll(-1, 0)) / 2
rug = metropolis_hastings(sunshine, Chain(one_aside))
goal = (sunshine / sunshine.sum()).double()

assert torch.allclose(rug.stationary(), goal, atol=1e-12)
flow = goal[:, None] * rug.P
assert torch.allclose(flow, flow.T, atol=1e-15)
print(f"period of the proposal {Chain(one_aside).period()}, of the chain {rug.period()}; "
      f"|λ₂| = {rug.eigenvalues()[1].abs():.4f}")  # fmt: skip

# %% [markdown]
# (The proposal alone has period 2: on an even ring, steps of one alternate between odd and even places. The refusals cure that, too: who may stay is aperiodic.)
#
# Drag the steps. The cat lies down in a dark corner, and its law creeps round the rug until it fits the sunshine. Where does it cross late, and why? (Look at the dark stretch between the two spots: from a sunny place, moves into the dark are mostly refused. Chains that must cross a desert forget slowly; remember that when you hear of *modes*.)


# %%
def draw_rug(figure, n=10, start=22):
    axis = figure.subplots()
    edges = torch.arange(25) - 0.5
    bars = axis.stairs(goal, edges, fill=True, color=plots.ORANGE, label="the cat")
    line = axis.stairs(
        goal, edges, color=plots.BLACK, linewidth=2, zorder=2, label="sunshine, as a probability"
    )
    axis.set(xlabel="place on the rug (23 lies beside 0)", ylabel="probability", ylim=(0, 0.25))
    title = axis.set_title("total variation")
    axis.legend(loc="upper left")

    def update(n, start):
        law = rug.distribution(start, n)
        bars.set_data(law)
        title.set_text(f"total variation {total_variation(law, goal):.3f} after {n} steps")
        return [bars, line, title]

    update(n, start)
    return update


# %%
from ipywidgets import SelectionSlider

slider = SelectionSlider(options=sorted({round(1.3**k) - 1 for k in range(28)}), value=10)
Redraw(draw_rug, n=slider, start=(0, 23), labels={"n": "steps n", "start": "starts at"},
       alt=lambda n, start: f"The law of the cat, {n} steps after place {start}, and the sunshine.")  # fmt: skip

# %% [markdown]
# ### 3.6 The bridge: a chain whose stationary law is the bell curve
#
# Nothing above needs the states to be few. Let the state be a number $x$, and let a step shrink it a little and add a little noise:
#
# $$x_n=\sqrt{1-\beta}\;x_{n-1}+\sqrt\beta\;\varepsilon_n,\qquad \varepsilon_n\sim\mathcal N(0,1),\quad 0<\beta<1 .$$
#
# Time-series people call it AR(1). Why the two roots? Follow the first two moments. Means scale, variances scale by squares and add, since $\varepsilon_n$ is independent of the past:
#
# $$m_n=\sqrt{1-\beta}\;m_{n-1},\qquad v_n=(1-\beta)\,v_{n-1}+\beta .$$
#
# The mean dies out: $m_n=(1-\beta)^{n/2}m_0$. For the variance subtract 1 on both sides: $v_n-1=(1-\beta)(v_{n-1}-1)$, so
#
# $$v_n=1+(1-\beta)^n\,(v_0-1)\;\longrightarrow\;1 .$$
#
# **The roots are there for the squares to sum to one**, $(1-\beta)+\beta=1$: then $v=1$ stays put. And sums of Gaussians are Gaussian, so $\mathcal N(0,1)$ goes to $\mathcal N(0,1)$: it is stationary. For a vector or a picture the same holds in each coordinate, and the stationary law is $\mathcal N(0,I)$. Check by number, from a start at $\mathcal N(3,0.5^2)$ with $\beta=0.02$:

# %% tags=["nbval-check-output"]
chain = GaussianChain(beta=0.02)
for n in (0, 10, 100, 1000):
    mean, variance = chain.moments(3, 0.5, n)
    print(f"after {n:4} steps: mean {mean:.5f}, variance {variance:.6f}")
print("from N(0, 1), after 1000 steps:", chain.moments(0, 1, 1000))

# %%
x = 3 + 0.5 * torch.randn(5000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
paths, noise = [x[:, 0]], torch.Generator().manual_seed(1)
for _ in range(200):
    x = chain.step(x, noise)
    paths.append(x[:, 0])
paths = torch.stack(paths)  # (201, 5000)
mean, variance = chain.moments(3, 0.5, 200)
assert abs(paths[-1].mean() - mean) < 0.08 and abs(paths[-1].var() - variance) < 0.1

law = torch.tensor([chain.moments(3, 0.5, n) for n in range(201)])  # (201, 2)
figure, axis = plots.subplots(size=(9, 3.2))
axis.plot(paths[:, :12], color=plots.SKY, linewidth=0.8)
axis.fill_between(range(201), law[:, 0] - 2 * law[:, 1].sqrt(), law[:, 0] + 2 * law[:, 1].sqrt(),
                  color=plots.BLUE, alpha=0.15)  # fmt: skip
axis.plot(law[:, 0], color=plots.BLUE)
axis.set(title="Twelve walks, the mean, and two standard deviations around it",
         xlabel="steps n", ylabel="x")  # fmt: skip
plots.show(figure, "Walks that start near 3 wander down to 0 while the band around their mean "
           "widens from half a unit to one.")  # fmt: skip

# %% [markdown]
# Is this really the same theory? Cut the line from −6 to 6 into 161 small cells, write down the probability to step from each cell to each other one, and you have an ordinary `Chain` with an ordinary matrix. Then ask it the questions of section 3.3 and 3.4.

# %% tags=["nbval-check-output"]
beta, x = 0.2, torch.linspace(-6, 6, 161, dtype=torch.float64)
weight = torch.exp(-((x - (1 - beta) ** 0.5 * x[:, None]) ** 2) / (2 * beta))  # (from, to)
grid = Chain(weight / weight.sum(1, keepdim=True))
bell = torch.exp(-(x**2) / 2)
distance = total_variation(grid.stationary(), bell / bell.sum())
print(f"from the bell curve, its stationary law is {distance:.6f} away")
print("its eigenvalues:", grid.eigenvalues().real[:5].numpy().round(5))
print("√(1 − β)^k     :", [round((1 - beta) ** (k / 2), 5) for k in range(5)])

# %% [markdown]
# The stationary law comes out as the bell curve, and the eigenvalues are the powers of $\sqrt{1-\beta}$ (to within what it costs to cut the line off at ±6): the $\lambda_2$ of this chain is the very factor by which the mean decays. **Everything the cat taught you holds for the cloud.**
#
# And for the cat in the cloud. Drag it into oblivion:


# %%
def film(beta, times):
    x, generator = (
        cat_cloud(3000, torch.Generator().manual_seed(0)),
        torch.Generator().manual_seed(5),
    )
    for n in range(max(times) + 1):
        if n in times:
            yield cloud_picture(x)
        x = GaussianChain(beta).step(x, generator)


times = sorted({round(1.16**k) - 1 for k in range(43)})  # 0 … 500, dense at the start
Filmstrip({f"{beta}": list(film(beta, times)) for beta in (0.005, 0.02, 0.08)}, choose="β",
          labels=[f"n = {n}" for n in times], start=4,
          alt="A cloud in the shape of a cat's face walking to the standard normal law")  # fmt: skip

# %% [markdown]
# The dashed circle has radius 2: of a standard normal cloud in the plane, $1-e^{-2}\approx86\,\%$ lies inside. Which goes first, the whiskers or the ears? (Fine detail drowns first, in noise of small size; the place of the cloud and its coarse shape last. In lesson 03 the film runs backwards, and then coarse shapes come first.)

# %% [markdown]
# ### 3.7 And backwards?
#
# The cat is eating. What was it doing ten minutes ago? Bayes turns the arrow round:
#
# $$\Pr(X_{n-1}=i\mid X_n=j)=\frac{(S_{n-1})_i\,P_{ij}}{(S_n)_j} .$$
#
# Forward, a step depended on the table $P$ alone. **Backward, it also depends on where the chain was likely to be**, so on the start and on $n$. Only in the stationary law, and with detailed balance, the film looks the same both ways:


# %% tags=["nbval-check-output"]
def one_step_back(S, P):
    joint = S[:, None] * P  # (from, to)
    return (joint / joint.sum(0)).T  # row: now, column: before


looks = {"one step after sleep": cat.distribution("sleep", 0), "after a long time": pi}
for name, S in looks.items():
    back = one_step_back(S, cat.P)[2]
    before = ", ".join(f"{state} {share:.3f}" for state, share in zip(cat.states, back))
    print(f"it eats, and we look {name:20} → ten minutes ago: {before}")
print("after a long time, backward is forward:", torch.allclose(one_step_back(pi, cat.P), cat.P))

# %% [markdown]
# Keep this in mind: *to run a forgetting chain backwards, you must know what it forgot.* For a chain that started with photographs, "where it was likely to be" is the law of all photographs, and no table holds that. A network will have to learn it.

# %% [markdown]
# ## 4 · The real code
#
# This is not a sketch of what ran above: it is what ran above. First $S_n=S_0P^n$ and the walk, which throws the die of the row it is in:

# %%
show_source(Chain.distribution, Chain.walk)

# %% [markdown]
# The stationary law, three ways, $(P^\top-I)\pi^\top=0$ with one row replaced; the left eigenvector, made real and scaled; $S\leftarrow SP$ until it no longer moves. Then the ruler, $\frac12\sum|p-q|$:

# %%
show_source(by_linear_solve, by_eigenvector, by_power_iteration, total_variation)

# %% [markdown]
# Metropolis–Hastings, $a_{ij}=\min\{1,\pi_jq_{ji}/\pi_iq_{ij}\}$, and the Gaussian chain, $\sqrt{1-\beta}\,x+\sqrt\beta\,\varepsilon$:

# %%
show_source(metropolis_hastings, GaussianChain)

# %% [markdown]
# ## 5 · Play: what makes a chain forget?
#
# Every entry of the matrix has a slider. Rows stay stochastic: when you move one entry, the others of its row share what is left. The numbers in the circles and the curves answer at once; the dashed lines are $\pi$. Try to
#
# 1. make the cat eat half of its life, by moving **one** slider;
# 2. make it forget as *slowly* as you can, and yet forget;
# 3. make it forget in a **single** step ($\lambda_2=0$). What do the rows have in common?
# 4. choose "round and round" and "two rooms" from the menu. Which of them has one stationary law, which has several, and what do the curves do? Then move one slider by a hair: which one cures which chain?

# %%
names = cat.states
ChainEditor(
    cat,
    presets={
        "a coin flipper": Chain([[0.5, 0.3, 0.2]] * 3, names),
        "a sluggish cat": Chain(0.1 * cat.P + 0.9 * torch.eye(3).double(), names),
        "round and round": Chain([[0, 1, 0], [0, 0, 1], [1, 0, 0]], names),
        "two rooms": Chain([[0.9, 0.1, 0], [0.3, 0.7, 0], [0, 0, 1]], names),
    },
)

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. Raise eat → eat. At about 0.967 the cat eats half of its life: it goes to the bowl no more often, but stays fifteen times as long.
# 2. Push every "stay" towards 1: $|\lambda_2|\to1$. At exactly 1 it no longer forgets: each state is a prison of its own.
# 3. All rows equal: the next state does not depend on the present one. That is the town that flips the same coin every day.
# 4. "Round and round" has the one stationary law $(\frac13,\frac13,\frac13)$ and never gets there: it is periodic. "Two rooms" has infinitely many, and where it ends depends on where it starts. Any slider cures the first: a hair of irregularity is enough to lose the beat. The second needs a way out: with a hair of eat → sleep, every cat ends among sleep and play, and never eats again.
# </details>

# %% [markdown]
# ## 6 · Learn it: counting
#
# Up to now somebody gave us $P$. Suppose that you have only watched: a long list, sleep, sleep, sleep, eat, play, … How would you *learn* the matrix? In this course learning nearly always means the same: **choose the parameters under which what you saw was most likely.** Here the sum can be done on paper. If $N_{ij}$ is how often you saw a step from $i$ to $j$, the log-probability of the whole walk is
#
# $$\log\Pr(\text{walk})=\text{const}+\sum_{ij}N_{ij}\log P_{ij},\qquad\text{under}\quad\sum_jP_{ij}=1 .$$
#
# With a Lagrange multiplier $\mu_i$ for each row, $\partial/\partial P_{ij}$ gives $N_{ij}/P_{ij}=\mu_i$, so $P_{ij}$ is proportional to $N_{ij}$, and since rows sum to 1,
#
# $$\hat P_{ij}=\frac{N_{ij}}{\sum_kN_{ik}} .$$
#
# **Learning is counting.** A. A. Markov did just that in 1913, by hand, with 20,000 letters of *Eugene Onegin*. Watch it happen; in later lessons this place belongs to a network and its loss.


# %%
def learning(chain, steps, every, seed):
    """Watch a walk; now and then, yield the number of steps and what was learned so far."""
    counts = torch.zeros(3, 3, dtype=torch.float64)
    path = chain.walk(steps, 0, torch.Generator().manual_seed(seed))
    for n, (i, j) in enumerate(zip(path, path[1:]), 1):
        counts[i, j] += 1
        if n % every == 0:
            yield n, Chain(counts / counts.sum(1, keepdim=True), chain.states)


# %%
def draw(figure, seen):
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    n = [n for n, _ in seen]
    errors = [(learned.P - cat.P).abs().max() for _, learned in seen]
    left.loglog(n, errors, label="largest error of an entry")
    left.loglog(n, [2 / m**0.5 for m in n], "--", color=plots.BLACK, label=r"slope $n^{-1/2}$")
    left.set(xlabel="steps watched", title=f"{n[-1]:,} steps watched")
    left.legend()
    draw_chain(right, seen[-1][1])


seen = watch(learning(cat, 40_000, 200, seed=0), draw, size=(10, 3.6),
             alt="The error of the learned matrix falls with the root of the steps watched.")  # fmt: skip
assert (seen[-1][1].P - cat.P).abs().max() < 0.05

# %% [markdown]
# Where a network would be compared with shipped weights, trained for longer, we can compare with the truth. (And mind the row of *eat*: the cat is there one time in sixteen, so this row is learned from a sixteenth of the data. What is rare is learned badly; that will not change with networks.)

# %%
print(f"{'steps watched':>13}  {'largest error, by row':34} sleep, from the learned matrix")
for n in (200, 2_000, 40_000):
    learned = seen[n // 200 - 1][1]
    errors = (learned.P - cat.P).abs().max(1).values.tolist()
    shown = ", ".join(f"{name} {error:.3f}" for name, error in zip(cat.states, errors))
    print(f"{n:13,}  {shown:34} {learned.stationary()[0]:.3f}   (truth 0.625)")

# %% [markdown]
# ## 7 · Measure
#
# The theorem says: an irreducible, aperiodic chain has constants with $\mathrm{TV}(S_n,\pi)\le C\alpha^n$, $\alpha<1$ (the convergence theorem; Levin, Peres and Wilmer, *Markov Chains and Mixing Times*, Theorem 4.9), and for ours $\alpha=|\lambda_2|=0.7414$. Does a crowd of simulated cats obey? We count where $N=20{,}000$ of them are, five times with other dice.
#
# One honest line belongs in every such table, in this lesson as in the last: the **floor**. Even cats drawn from $\pi$ itself, counted, are not exactly at $\pi$. Below that, there is nothing to see.


# %%
def count_cats(start, seed, N=20_000, steps=20):
    """Total variation between N counted cats and π, after 0, 1, …, steps."""
    generator, distances = torch.Generator().manual_seed(seed), []
    cats = torch.multinomial(start, N, replacement=True, generator=generator)
    for _ in range(steps + 1):
        distances.append(total_variation(torch.bincount(cats, minlength=3) / N, pi))
        throw = torch.rand(N, 1, generator=generator)
        cats = (throw > cat.P.cumsum(1)[cats, :2]).sum(1)  # which part of the row it falls into
    return torch.stack(distances)


runs = torch.stack([count_cats(asleep, seed) for seed in range(5)])  # (5, 21)
floor = torch.stack([count_cats(pi, 50 + seed) for seed in range(5)]).mean()
exact = torch.stack([total_variation(cat.distribution("sleep", n), pi) for n in range(21)])

# %%
print(" n   theory    counted: mean ± sd of 5     floor")
for n in (0, 1, 5, 10, 15, 20):
    mean, sd = runs[:, n].mean(), runs[:, n].std()
    print(f"{n:2}   {exact[n]:.4f}    {mean:.4f} ± {sd:.4f}             {floor:.4f}")
fit = (runs.mean(0)[10] / runs.mean(0)[2]) ** (1 / 8)
print(f"pace counted from n = 2 to n = 10: {fit:.4f}; |λ₂| = {cat.eigenvalues()[1].abs():.4f}")
assert abs(fit - 0.7414) < 0.02

# %%
figure, axis = plots.subplots(size=(8, 3.2))
axis.semilogy(exact, "--", color=plots.BLACK, linewidth=1, label="theory")
axis.errorbar(range(21), runs.mean(0), runs.std(0), fmt="o", color=plots.BLUE, markersize=4,
              linewidth=1, label="20,000 cats, 5 seeds, mean ± sd")  # fmt: skip
axis.axhline(floor, color=plots.VERMILLION, linewidth=1, label="floor: cats drawn from π")
axis.set(title="The counted distance follows the theory down to the floor", xlabel="steps n",
         ylabel="total variation", xticks=range(0, 21, 5))  # fmt: skip
axis.legend()
plots.show(figure, "Counted total variation lies on the theoretical line until it meets the floor "
           "of sampling noise at about 0.003.")  # fmt: skip

# %% [markdown]
# ## 8 · Break it
#
# Four classic failures. Learn how they look, and you will know them when you meet them at midnight.

# %%
swing = Chain([[0, 1], [1, 0]], ("tick", "tock"))
rooms = Chain([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0, 0, 0.6, 0.4], [0, 0, 0.4, 0.6]])
rules = {"√(1−β) and √β": (0.98, 0.02), "β for √β": (0.98, 0.02**2), "no shrinking": (1, 0.02)}
variances = {name: [0.25] for name in rules}
for name, (kept, added) in rules.items():
    for _ in range(200):
        variances[name].append(kept * variances[name][-1] + added)

# %%
figure, axes = plots.subplots(1, 3, size=(10, 3.1))
axes[0].plot([swing.distribution("tick", n)[0] for n in range(21)], "o-", markersize=3)
axes[0].set(title="Periodic: it swings for ever", ylabel="probability of tick")
for start in range(4):
    axes[1].plot([rooms.distribution(start, n)[0] for n in range(21)], label=f"from {start}")
axes[1].set(title="Reducible: the start decides", ylabel="probability of state 0")
for name, variance in variances.items():
    axes[2].plot(variance, label=name)
axes[2].set(title="Gaussian: roots forgotten", ylabel="variance")
for axis in axes:
    axis.set_xlabel("steps n")
axes[1].legend(loc="center", bbox_to_anchor=(0.75, 0.3))
axes[2].legend()
plots.show(figure, "A periodic chain swings between 0 and 1; a reducible one ends at two different "
           "levels; a Gaussian chain with the wrong factors collapses or explodes.")  # fmt: skip

# %% [markdown]
# **Periodic.** `tick` and `tock` take turns. A stationary law exists, $(\frac12,\frac12)$, and the chain never comes nearer to it: its second eigenvalue is $-1$, and $|-1|^n$ does not fall. *Existence is not convergence.* Power iteration cannot find it; the linear solve can:

# %%
print("period", swing.period(), "· eigenvalues", swing.eigenvalues().real.numpy())
print("by linear solve:", swing.stationary())
try:
    swing.stationary(by_power_iteration)
except ValueError as error:
    print("by power iteration:", error)
lazy = Chain(0.5 * swing.P + 0.5 * torch.eye(2), swing.states)
print("with a coin flip before each step (stay, or go):", lazy.stationary(by_power_iteration))

# %% [markdown]
# **Reducible.** There is no way from the room $\{0,1\}$ to the room $\{2,3\}$. Each has its own stationary law, and so has every mixture of them: infinitely many, eigenvalue 1 twice. Asking for *the* stationary law is a question without an answer, and labkit says so instead of choosing one for you:

# %%
print("eigenvalues", rooms.eigenvalues().real.numpy().round(4))
try:
    rooms.stationary()
except ValueError as error:
    print(error)

# %% [markdown]
# **Rows for columns.** Half of all books put the chain into columns and write $S_{n+1}=PS_n$. Both are right; mixing them is not. If you are lucky, somebody notices:

# %%
try:
    Chain(cat.P.T, cat.states)
except ValueError as error:
    print(error)
print("and P @ S, which nobody notices, does not even sum to 1:", (cat.P @ asleep).sum().item())

# %% [markdown]
# **Roots forgotten.** In the panel at the right: with $\beta$ in place of $\sqrt\beta$ the variance settles at $\beta$ instead of 1, and the cloud collapses to a dot; without the shrinking it grows for ever. In a diffusion model the first looks like samples that are all alike, the second like training that never sees the right amount of noise. Both mistakes run without any error.

# %% [markdown]
# ## 9 · Exercises
#
# Write into the stub, run the cell, read what the check says: it draws fresh inputs every time and knows the usual mistakes by name. A hint is folded under each; a solution is folded in the cell below it (click its three dots to see it), and every run of this notebook puts it to the same check.
#
# ### 9.1 Where is it after n steps? &nbsp; ● 5 minutes
#
# $S_n=S_0P^n$, the sentence that this lesson is about. `S` is a row of probabilities `(k,)`, `P` is `(k, k)`, `n ≥ 0` is a whole number; return the row after `n` steps.


# %%
def after_n_steps(S, P, n):
    """The distribution (k,) after n steps from S (k,), with transition matrix P (k, k)."""
    ...


checks.after_n_steps(after_n_steps)

# %% [markdown]
# <details><summary>Hint</summary>A row times a matrix is <code>S @ P</code>. A loop is fine; <code>torch.linalg.matrix_power</code> is shorter. Try n = 0 in your head.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def after_n_steps_solution(S, P, n):
    for _ in range(n):
        S = S @ P
    return S


checks.after_n_steps(after_n_steps_solution).require()

# %% [markdown]
# ### 9.2 Learn the matrix from a walk &nbsp; ● 10 minutes
#
# What section 6 did, by your own hand. `path` is a list of state numbers, such as `[0, 0, 2, 1, …]`, `k` is the number of states, and every state is left at least once. Return the estimate $\hat P$ of shape `(k, k)`, float64.


# %%
def count_transitions(path, k):
    """The maximum-likelihood transition matrix (k, k), float64, of a walk."""
    ...


checks.count_transitions(count_transitions)

# %% [markdown]
# <details><summary>Hint</summary><code>zip(path, path[1:])</code> gives the steps. Count them into a table of zeros, then divide each row by its sum; <code>sum(1, keepdim=True)</code> has the shape that you need.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def count_transitions_solution(path, k):
    counts = torch.zeros(k, k, dtype=torch.float64)
    for i, j in zip(path, path[1:]):
        counts[i, j] += 1
    return counts / counts.sum(1, keepdim=True)


checks.count_transitions(count_transitions_solution).require()

# %% [markdown]
# ### 9.3 The stationary law &nbsp; ●● 15 minutes
#
# Return $\pi$ `(k,)` with $\pi P=\pi$ for an irreducible chain. Beware: **some of the chains that the check draws are periodic.**


# %%
def stationary_law(P):
    """π (k,), float64, with π P = π and sum 1, for an irreducible P (k, k)."""
    ...


checks.stationary_law(stationary_law)

# %% [markdown]
# <details><summary>Hint</summary>Either replace one equation of (P.T − I) π = 0 by "the sum is 1" and call <code>torch.linalg.solve</code>; or take from <code>torch.linalg.eig(P.T)</code> the column whose eigenvalue is nearest to 1. It comes complex, with any sign and length.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def stationary_law_solution(P):
    values, vectors = torch.linalg.eig(P.T)
    vector = vectors[:, (values - 1).abs().argmin()].real
    return vector / vector.sum()


checks.stationary_law(stationary_law_solution).require()

# %% [markdown]
# ### 9.4 A chain to order &nbsp; ●● 20 minutes
#
# Build the Metropolis–Hastings matrix. `target` `(k,)` holds positive weights that need not sum to 1; `Q` `(k, k)` is the proposal, all of its entries positive, **not** symmetric. Return the transition matrix `(k, k)` whose stationary law is proportional to `target`.


# %%
def metropolis_matrix(target, Q):
    """The Metropolis–Hastings transition matrix (k, k) for target (k,) and proposal Q (k, k)."""
    ...


checks.metropolis_matrix(metropolis_matrix)

# %% [markdown]
# <details><summary>Hint</summary><code>flow = target[:, None] * Q</code> is the traffic π_i q_ij; <code>flow.T</code> is what comes back. The acceptance is their ratio, at most 1. What is refused has to go somewhere: look at the row sums.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def metropolis_matrix_solution(target, Q):
    flow = target[:, None] * Q
    P = torch.minimum(flow, flow.T) / target[:, None]
    return P + torch.diag(1 - P.sum(1))


checks.metropolis_matrix(metropolis_matrix_solution).require()

# %% [markdown]
# ### 9.5 One step towards noise &nbsp; ● 5 minutes
#
# The step of section 3.6, and the first line of every diffusion model. The noise `eps` is given, so that your step can be compared number by number.


# %%
def gaussian_step(x, beta, eps):
    """x one step later, for x (B, D), a number beta in (0, 1), and standard normal eps (B, D)."""
    ...


checks.gaussian_step(gaussian_step)

# %% [markdown]
# <details><summary>Hint</summary>The squares of the two factors sum to 1.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def gaussian_step_solution(x, beta, eps):
    return (1 - beta) ** 0.5 * x + beta**0.5 * eps


checks.gaussian_step(gaussian_step_solution).require()

# %% [markdown]
# ### 9.6 How long until it is forgotten? &nbsp; ●●● 45 minutes
#
# The **mixing time**: the smallest $n\ge0$ for which $\mathrm{TV}(S_n,\pi)\le$ `tolerance` **whatever the start**. It is enough to try the starts in a single state; can you say why? Return a whole number. When it passes, go on: of all three-state chains whose stationary law is $(\frac13,\frac13,\frac13)$ and which stay put with probability at least ½, which forgets fastest? Guess with the widget, then measure with your function.


# %%
def steps_to_forget(P, tolerance):
    """The smallest n with TV(S_n, π) ≤ tolerance from the worst start, for P (k, k)."""
    ...


checks.steps_to_forget(steps_to_forget)

# %% [markdown]
# <details><summary>Hint</summary>Row i of Pⁿ is S_n for the start in i. So compare all rows of Pⁿ with π at once and take the largest distance. (TV is convex: a mixture of starts is never farther away than the farthest of them.)</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def steps_to_forget_solution(P, tolerance):
    pi, rows, n = by_linear_solve(P), torch.eye(len(P), dtype=P.dtype), 0
    while total_variation(rows, pi).max() > tolerance:
        rows, n = rows @ P, n + 1
    return n


checks.steps_to_forget(steps_to_forget_solution).require()

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A transition matrix has the row (0.2, 0.5, 0.3). What does the 0.5 say?",
    {
        "Of the times in state 1, the chain came from this state in half": "That would be a column, read backwards, and it would need Bayes and the law of the start.",
        "From this state, the next one is state 1 with probability ½": "Rows answer the question where to. That is why they sum to 1.",
        "The chain spends half of its time in state 1": "That is what the stationary law says; a single row does not.",
    },
    answer="From this state, the next one is state 1 with probability ½",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A chain has the stationary law $\\pi$. Does $S_n$ go to $\\pi$ from every start?",
    {
        "Yes, that is what stationary means": "Stationary means: once there, it stays there. Tick-tock has the stationary law (½, ½) and never comes near it.",
        "Yes, if all states can be reached from each other": "That makes π unique. But tick-tock is irreducible, too, and swings for ever.",
        "Only if it is also aperiodic and has a single closed class": "Then every eigenvalue but the one is smaller than 1 in size, and all the rest dies out.",
    },
    answer="Only if it is also aperiodic and has a single closed class",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Two chains have $|\\lambda_2|=0.9$ and $|\\lambda_2|=0.99$. How much longer does the second need to forget?",
    {
        "About 1.1 times as long": "The ratio of the eigenvalues is not the ratio of the times: they stand under a power.",
        "About ten times as long": "Steps to halve: log ½ / log λ, so 6.6 against 69. What counts is the gap, 1 − λ: 0.1 against 0.01.",
        "That depends on the start alone": "The start sets the constant C; the pace belongs to the chain.",
    },
    answer="About ten times as long",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does $x_n=\\sqrt{1-\\beta}\\,x_{n-1}+\\sqrt{\\beta}\\,\\varepsilon$ carry roots?",
    {
        "So that the factors sum to 1": "They do not: √0.98 + √0.02 ≈ 1.13. Their squares do.",
        "So that a variance of 1 stays 1": "Variances scale by the squares: (1 − β)·1 + β = 1. So N(0, I) is stationary.",
        "So that β may be larger than 1": "Then √(1 − β) would not even be real.",
    },
    answer="So that a variance of 1 stays 1",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why can nobody simply run the noising chain of a photograph backwards with a table?",
    {
        "Because noise cannot be subtracted": "If you knew the noise that was added, you could. You know only its law.",
        "Because the chain is not reversible": "The Gaussian chain even satisfies detailed balance, in its stationary law. That law is noise, though, and not photographs.",
        "Because the backward step needs the law of the photographs": "Bayes needs S: the law from which the chain started, and that nobody can write down. It has to be learned.",
    },
    answer="Because the backward step needs the law of the photographs",
)

# %% [markdown]
# ## 11 · Recap
#
# - A **Markov chain** forgets all but its present state; a matrix with rows that sum to 1 holds the rule. $S_n=S_0P^n$.
# - **Stationary** is what one more step does not change, $\pi P=\pi$: a linear system, a left eigenvector, the limit of powers, and often detailed balance.
# - It **forgets like** $|\lambda_2|^n$. Periodic chains swing, reducible ones remember.
# - **Metropolis–Hastings** builds a chain for a law that is known up to a factor.
# - **Learning** $P$ is counting; the error falls with the root of the number of looks.
# - The chain $\sqrt{1-\beta}\,x+\sqrt\beta\,\varepsilon$ takes anything to $\mathcal N(0,I)$, and to go back one must know what it forgot.
#
# **What the next lesson fixes.** A thousand steps to noise a picture are slow to simulate; lesson 02 does them in **one jump**, lets $\beta$ change with time, and asks how to spend the noise well. Lesson 03 then learns the way back.
#
# **References**
# - A. A. Markov (1913), *An example of statistical investigation of the text Eugene Onegin concerning the connection of samples in chains*.
# - N. Metropolis et al. (1953), *Equation of state calculations by fast computing machines*; W. K. Hastings (1970), *Monte Carlo sampling methods using Markov chains and their applications*.
# - D. A. Levin, Y. Peres, E. L. Wilmer, *Markov Chains and Mixing Times*, chapters 1, 3, 4 and 12.
# - J. Sohl-Dickstein et al. (2015), *Deep unsupervised learning using nonequilibrium thermodynamics*: the chain of section 3.6 and its way back, for the first time.
# - J. Ho, A. Jain, P. Abbeel (2020), *Denoising diffusion probabilistic models*: lesson 03.
