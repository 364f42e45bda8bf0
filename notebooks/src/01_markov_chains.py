# %% [markdown]
# # 01 · Markov chains
#
# **A cat sleeps, plays and eats, and what it does next depends only on what it does now. You leave the house for a day: what can you still say about the cat when you come back?** What it did when you left does not matter by then. But you can compute how probable it is that it sleeps.
#
# A diffusion model uses the same effect: a chain forgets a picture step by step, until only noise is left. In lesson 03 a network learns to go back.
#
# **After this lesson you can** compute the distribution of a chain after $n$ steps. You can find its stationary distribution, and say how fast it forgets its start. And you can explain why one chain turns every picture into noise.
#
# **Before it** you need Python, a little torch, probabilities and eigenvectors.
#
# **Time** 35 minutes to read, 15 to play, half a minute to run, 100 minutes for all exercises. Section 3.5 and exercise 9.4 are optional.
#
# **Where you are** [00 start here](00_start_here.ipynb) → **01 Markov chains** → [02 forward diffusion](02_forward_diffusion.ipynb)

# %%
import torch

from labkit.lab import chain_plot, checks, plots, quiz, show_source
from labkit.lab.chain_plot import cat_cloud, draw_chain, draw_walk
from labkit.lab.widgets import Filmstrip, Redraw, watch
from labkit.lab.widgets.chain_editor import ChainEditor, rescaled
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
# **Above:** three cats. When you leave, the first is asleep, the second plays, the third eats. The bars show how likely each of them is to sleep, play or eat after $n$ steps of ten minutes. **Below:** a cloud of 4,000 points. At every step each point moves a little towards 0 and gets a little noise.

# %%
figure, axes = plots.subplots(2, 5, size=(10, 4.6), sharey="row")
for n, axis in zip((0, 2, 5, 10, 30), axes[0]):
    chain_plot.draw_distributions(axis, cat, n)
axes[0, 0].set_ylabel("probability")
axes[0, 4].legend(loc="upper right", handlelength=0.8, borderaxespad=0, borderpad=0.2)
figure.get_layout_engine().set(rect=(0.01, 0, 0.99, 1))  # room for the label
axes[1, 0].set_ylabel("$x_2$")

generator = torch.Generator().manual_seed(0)
x, times = cat_cloud(4000, generator), (0, 2, 10, 60, 2000)
for n in range(max(times) + 1):
    if n in times:
        chain_plot.draw_cloud(axes[1, times.index(n)], x)
        axes[1, times.index(n)].set_title(f"n = {n}")
    if n < max(times):
        x = GaussianChain(beta=0.005).step(x, generator)
bars = torch.linalg.matrix_power(cat.P, 30)  # row: start, column: state
assert (bars.amax(0) - bars.amin(0)).max() < 2e-4
assert x.mean(0).abs().max() < 0.08 and (x.T.cov() - torch.eye(2)).abs().max() < 0.12
plots.show(figure, "Above, the bars of the three cats are different at n = 0 and equal at n = 30. "
           "Below, a cat's face at the upper right becomes a round cloud around 0.")  # fmt: skip

# %% [markdown]
# At the right you cannot see the start any more: the three bars of a state differ by less than 0.0002, and the cloud has nearly mean 0 and covariance $I$. **Both chains forget where they started, and each ends in its own limit distribution.** We study the cat first: there you can find the main numbers by hand. The cloud is the forward half of a diffusion model.

# %% [markdown]
# ## 2 · The idea
#
# ### What is a stochastic process? Tomorrow's rain
#
# A **stochastic process** is a quantity that changes at random in time: $X_0,X_1,X_2,\dots$, one random variable per day, and a rule for how they depend on each other. In both towns below it rains on one day in four on average. A *run* is a series of rainy days with no dry day between them.

# %%
from itertools import groupby

generator = torch.Generator().manual_seed(0)
remembers = rain.walk(119, "dry", generator)
forgets = [int(torch.rand((), generator=generator) > 0.25) for _ in range(120)]
figure, axes = plots.subplots(2, size=(10, 2.8), sharex=True)
names = "Tomorrow depends on today", "Every day is independent of the others"
lengths = []
for axis, path, name in zip(axes, (remembers, forgets), names):
    draw_walk(axis, path, rain.states)
    runs = [len(list(days)) for state, days in groupby(path) if state == 0]
    lengths.append(sum(runs) / len(runs))
    axis.set_title(f"{name}: {sum(runs)} rainy days in {len(runs)} runs")
assert lengths[0] > 2 * lengths[1] and len(runs) == 22  # 10 in the first town
axes[1].set_xlabel("day")
plots.show(figure, "120 days of weather in two towns. In the first town the rainy days come in "
           "fewer, longer runs than in the second.")  # fmt: skip

# %% [markdown]
# In the second town each day is drawn independently. The first has a rule: *after a rainy day it rains with probability 0.7, after a dry day with 0.1.* If you know today's weather, **yesterday's weather does not improve the prediction** for tomorrow. This is the Markov property,
#
# $$\Pr(X_{n+1}=j\mid X_n=i,\;X_{n-1}=h,\;\dots,\;X_0=a)\;=\;\Pr(X_{n+1}=j\mid X_n=i),$$
#
# and a process that has it is a **Markov chain**. If these probabilities are the same at every step, one table holds them: the **transition matrix** $P$, with $P_{ij}=\Pr(X_{n+1}=j\mid X_n=i)$. Row $i$ holds the probabilities of the next state after $i$. So **every row sums to 1**.
#
# Our cat is such a chain, observed every ten minutes:
#
# |now ↓ next →|sleep|play|eat|
# |---|---|---|---|
# |**sleep**|0.9|0.075|0.025|
# |**play**|0.15|0.8|0.05|
# |**eat**|0.25|0.25|0.5|
#
# Drawn as a graph: each arrow has the color of the state where the step begins. A wider arrow is a likelier step.

# %%
figure, axes = plots.subplots(1, 2, size=(10, 4))
draw_chain(axes[0], rain)
draw_chain(axes[1], cat)
axes[0].set_title("The rain")
axes[1].set_title("The cat")
plots.show(figure, "Two transition graphs. Rain stays with 0.7 and goes to dry with 0.3; dry stays "
           "with 0.9 and goes to rain with 0.1. The cat's has the nine numbers of the table.")  # fmt: skip

# %% [markdown]
# A **walk** draws one state after the other: the next state comes from the row of the present one. Here is one day, 144 times ten minutes (seed 0):

# %%
day = cat.walk(143, "sleep", torch.Generator().manual_seed(0))
figure, axis = plots.subplots(size=(10, 1.9))
draw_walk(axis, day, cat.states, hours=1 / 6)
hours = ", ".join(f"{state} {day.count(k) / 6:.1f} h" for k, state in enumerate(cat.states))
axis.set(title=f"One day of the cat: {hours}", xlabel="hour", xticks=range(0, 25, 3))
plots.show(figure, f"A band of 24 hours in three lanes: {hours}.")

# %% [markdown]
# The walk is random. But its **distribution**, the probability of each state at each time, is not.

# %% [markdown]
# ## 3 · The derivation
#
# ### 3.1 One step is one matrix product
#
# Write $S_n$ for the row of probabilities at step $n$: $(S_n)_i=\Pr(X_n=i)$. To be in $j$ at the next step, the cat is in *some* $i$ now and goes from there to $j$. These cases exclude each other, so their probabilities add up:
#
# $$(S_{n+1})_j=\Pr(X_{n+1}=j)=\sum_i\underbrace{\Pr(X_n=i)}_{(S_n)_i}\;\underbrace{\Pr(X_{n+1}=j\mid X_n=i)}_{P_{ij}}=(S_nP)_j.$$
#
# So **one step is one product, with the row on the left**: $S_{n+1}=S_nP$. Check: 20,000 cats, all asleep, take one step each, and we count.

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
# Repeat the step: $S_2=S_1P=S_0P^2$, and so on,
#
# $$\boxed{\;S_n=S_0P^n\;}$$
#
# The entry $(P^n)_{ij}$ is the probability to go from $i$ to $j$ in $n$ steps, through any states in between. And since $P^{m+n}=P^mP^n$, seven steps are three steps and then four: the **Chapman–Kolmogorov equation**. Look at the rows of $P^n$:

# %% tags=["nbval-check-output"]
for n in (1, 4, 16, 64):
    print(f"P^{n} =", torch.linalg.matrix_power(cat.P, n).numpy().round(4), sep="\n")
seven, three, four = (torch.linalg.matrix_power(cat.P, n) for n in (7, 3, 4))
print("P^7 equals P^3 P^4:", torch.allclose(seven, three @ four, rtol=0, atol=1e-14))

# %% [markdown]
# Row $i$ is the distribution of a cat that started in $i$. When all rows are equal, **the start is forgotten**. In a plot:

# %%
figure, axes = plots.subplots(1, 3, size=(10, 3.1), sharey=True)
for axis, start in zip(axes, cat.states):
    chain_plot.draw_approach(axis, cat, start, steps=30)
axes[0].set_ylabel("probability")
axes[2].legend(loc="upper right")
plots.show(figure, "From each of the three starts, the probabilities of sleep, play and eat go to "
           "the same dashed levels, 0.625, 0.3125 and 0.0625.")  # fmt: skip

# %% [markdown]
# ### 3.3 What remains: the stationary distribution
#
# If $S_n$ converges to some $\pi$, then one more step changes nothing:
#
# $$\pi P=\pi,\qquad\sum_i\pi_i=1.$$
#
# Such a $\pi$ is called **stationary**. The cat still moves, but in each step as much probability enters a state as leaves it.
#
# For our cat we can find it by hand. Guess that between *each pair* of states the two flows are equal:
#
# $$\pi_iP_{ij}=\pi_jP_{ji}\qquad\text{(detailed balance)}.$$
#
# Then $\pi_{\text{play}}/\pi_{\text{sleep}}=0.075/0.15=\tfrac12$ and $\pi_{\text{eat}}/\pi_{\text{sleep}}=0.025/0.25=\tfrac1{10}$. So the three probabilities have the ratio $10:5:1$, and
#
# $$\pi=\left(\tfrac{10}{16},\tfrac5{16},\tfrac1{16}\right)=(0.625,\;0.3125,\;0.0625).$$
#
# The guess also holds for play and eat. Detailed balance makes $\pi$ stationary: sum $\pi_iP_{ij}=\pi_jP_{ji}$ over $i$, and the right side is $\pi_j$, because rows sum to 1. Detailed balance is not necessary: "round and round" in section 5 has a stationary distribution without detailed balance.

# %% tags=["nbval-check-output"]
by_hand = torch.tensor([10, 5, 1], dtype=torch.float64) / 16
flow = by_hand[:, None] * cat.P  # (3, 3): how much probability goes from i to j
print("flow from row to column:", flow.numpy(), sep="\n")
print("in detailed balance:", torch.allclose(flow, flow.T, rtol=0, atol=1e-15))
print("a step changes nothing:", torch.allclose(by_hand @ cat.P, by_hand, rtol=0, atol=1e-15))

# %% [markdown]
# **$\pi_i$ is also the long-run share of time in state $i$.** In a finite irreducible chain this holds with probability 1 for one long walk, from any start (the ergodic theorem; we do not prove it). So our cat sleeps 15 hours a day on average, plays 7.5 and eats 1.5. Single days differ, as the standard deviation below shows. We count one walk:

# %%
walk = torch.tensor(cat.walk(20_000, "sleep", torch.Generator().manual_seed(0))[1:])
share = torch.bincount(walk, minlength=3) / len(walk)
hours = (walk[: 138 * 144].view(138, 144) == 0).sum(1) / 6  # asleep, on each of 138 days
print("share of 20,000 steps:", share, " π:", pi)
print(f"hours of sleep a day: mean {hours.mean():.1f}, standard deviation {hours.std():.1f}")
assert total_variation(share, pi) < 0.02

# %% [markdown]
# When no guess works, there are three general methods.
#
# 1. **Solve.** $(P^\top-I)\,\pi^\top=0$ is one equation for each state. One of these equations follows from the others, because rows of $P-I$ sum to 0. Put $\sum_i\pi_i=1$ in its place.
# 2. **Eigenvector.** $\pi P=\pi$ says that $\pi$ is a *left* eigenvector of $P$ with eigenvalue 1. The right one is $(1,1,1)^\top$: it only says that the rows sum to 1.
# 3. **Power iteration.** Start anywhere and multiply by $P$ again and again. This needs a chain that converges (section 8).

# %% tags=["nbval-check-output"]
for method in (by_linear_solve, by_eigenvector, by_power_iteration):
    found = method(cat.P)
    exact = (found - by_hand).abs().max() < 1e-12
    print(f"{method.__name__:18}  {found.numpy().round(6)}  error below 1e-12: {exact}")

# %% [markdown]
# ### 3.4 How fast it forgets
#
# We need a distance between two distributions. The **total variation distance**
#
# $$\mathrm{TV}(p,q)=\tfrac12\sum_i|p_i-q_i|$$
#
# is the largest difference in probability that any event can have. It is 0 for equal distributions and 1 for distributions that never overlap.
#
# Now write the start as a sum of left eigenvectors of $P$, $S_0=\pi+c_2v_2+c_3v_3$. Number the eigenvalues by size, $1=\lambda_1\ge|\lambda_2|\ge|\lambda_3|$. The cat's three are different, so such a sum exists. Why does $\pi$ have the factor 1? Rows sum to 1, so $v_k$ and $v_kP=\lambda_kv_k$ have the same sum. If $\lambda_k\ne1$, this sum is 0. And $S_0$ sums to 1. Each product with $P$ multiplies $v_k$ by $\lambda_k$, so after $n$ steps
#
# $$S_n=\pi+c_2\lambda_2^n\,v_2+c_3\lambda_3^n\,v_3\qquad\Longrightarrow\qquad\mathrm{TV}(S_n,\pi)\le C\,|\lambda_2|^n.$$
#
# The start is only in the last two terms, and each shrinks by a constant factor a step: **geometric decay**. By hand: the eigenvalues sum to the trace, $1+\lambda_2+\lambda_3=2.2$, and their product is the determinant, $\lambda_2\lambda_3=0.34$. Hence $\lambda^2-1.2\lambda+0.34=0$ and $\lambda_{2,3}=0.6\pm\sqrt{0.02}=0.6\pm0.1\sqrt2$.

# %% tags=["nbval-check-output"]
print("eigenvalues:", cat.eigenvalues().real.numpy().round(7), " by hand:", 0.6 + 0.1 * 2**0.5)
values, vectors = (each.real for each in torch.linalg.eig(cat.P.T))  # columns: left eigenvectors
parts = torch.linalg.solve(vectors, asleep) * vectors  # column k is c_k v_k
C = parts[:, values < 0.99].abs().sum() / 2
assert parts.sum(0)[values < 0.99].abs().max() < 1e-12  # v₂ and v₃ sum to 0
for n in (1, 5, 10, 20):
    row = cat.distribution("sleep", n)
    distance, bound = total_variation(row, pi), C * values[values < 0.99].max() ** n
    print(f"TV after {n:2} steps from sleep: {distance:.6f}, at most {bound:.6f}")
    assert torch.allclose(row, (parts * values**n).sum(1), atol=1e-12) and distance <= bound
far, farther = (total_variation(cat.distribution("sleep", n), pi) for n in (40, 41))
print(f"later, one more step multiplies it by {farther / far:.6f}")

# %% [markdown]
# On a logarithmic axis geometric decay is a straight line. Each start has its own constant $C$. Once $(\lambda_3/\lambda_2)^n$ is small, every start with $c_2\ne0$ has **the same slope**, $\log|\lambda_2|$, which depends only on $P$. From a start with $c_2=0$ the distance falls faster, like $\lambda_3^n$.

# %%
figure, axis = plots.subplots(size=(8, 3.4))
steps, second = torch.arange(41), cat.eigenvalues()[1].abs()
for k, start in enumerate(cat.states):
    distance = [total_variation(cat.distribution(start, n), pi) for n in range(41)]
    axis.semilogy(steps, distance, color=plots.COLORS[k], label=f"from {start}")
axis.semilogy(steps, second**steps, "--", color=plots.BLACK, linewidth=1, label=r"$|\lambda_2|^n$")
axis.set(title="The distance from the stationary distribution decays geometrically",
         xlabel="steps n", ylabel="total variation")  # fmt: skip
axis.legend()
rows = torch.linalg.matrix_power(cat.P, 18)  # three hours
assert total_variation(rows, pi).max() < 0.0031
assert total_variation(rows[:, None], rows).max() < 0.0048
v3 = torch.linalg.eig(cat.P.T)[1].real[:, torch.linalg.eigvals(cat.P.T).real.argmin()]
after = [total_variation(cat.distribution(pi + 0.05 * v3, n), pi) for n in (0, 5)]  # c₂ = 0
assert abs((after[1] / after[0]) ** 0.2 - 0.45858) < 1e-4  # λ₃
plots.show(figure, "Total variation against steps on a logarithmic axis. After the first few "
           "steps three lines are straight and parallel to the dashed line, λ₂ to the n.")  # fmt: skip

# %% [markdown]
# With $|\lambda_2|=0.741$ the distance halves every $\log 0.5/\log 0.741\approx2.3$ steps, 23 minutes. After three hours (18 steps), the probability of any event is at most 0.0031 from the stationary one; between two starts it differs by at most 0.0048.
#
# **Careful with $\lambda_2=0$.** It does not mean that the chain forgets in one step. The matrix below cannot be diagonalized: $\lambda_2=\lambda_3=0$, and its chain needs two steps:

# %%
two_steps = Chain([[0.5, 0.5, 0], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2]], cat.states)
print("sizes of the eigenvalues:", two_steps.eigenvalues().abs().numpy().round(6))
for n in (1, 2):
    left = total_variation(two_steps.distribution("sleep", n), two_steps.stationary())
    print(f"TV after {n} step{'s' * (n > 1)} from sleep: {left:.6f}")
assert two_steps.eigenvalues()[1].abs() < 1e-6
assert total_variation(two_steps.P[0], two_steps.stationary()) > 0.19 and left < 1e-12

# %% [markdown]
# In general, for $k\ge2$ states and $n\ge1$, the bound is $C\,n^{k-2}|\lambda_2|^n$ if $\lambda_2\ne0$. If $\lambda_2=0$, the start is forgotten after at most $k-1$ steps (Jordan blocks; we do not prove it).
#
# When is $|\lambda_2|<1$? For finitely many states it is enough that
# - **every state can be reached from every other** (the chain is *irreducible*), which makes $\pi$ unique, and
# - **its round trips, the paths from a state back to it, have lengths with greatest common divisor 1** (it is *aperiodic*). In an irreducible chain, one state with $P_{ii}>0$ makes the chain aperiodic.

# %% [markdown]
# ### 3.5 Optional: a chain for the distribution that you want
#
# Now **$\pi$ is given, and we look for a chain** that converges to it.
#
# The cat lies on a round rug with 24 places, and some are sunnier. It *proposes* a move by some chain $q$: here one place to the left or to the right, each with probability ½. It accepts the move with a probability $a_{ij}$ that balances the flow, $\pi_iq_{ij}a_{ij}=\pi_jq_{ji}a_{ji}$:
#
# $$a_{ij}=\min\left\{1,\;\frac{\pi_j\,q_{ji}}{\pi_i\,q_{ij}}\right\}.$$
#
# Both directions now carry $\min(\pi_iq_{ij},\pi_jq_{ji})$, so $\pi$ is stationary. After a refused move the chain stays where it is. Only *ratios* of $\pi$ occur, so you need not know the sum of its weights. This is the **Metropolis–Hastings** chain.

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
sunny, dark = (total_variation(rug.distribution(start, 100), goal) for start in (5, 9))
print(f"TV after 100 steps: {sunny:.3f} from the sunny place 5, {dark:.3f} from the dark place 9")
assert sunny > 3 * dark

held = rug.distribution(5, 100)[1:10].sum(), goal[1:10].sum()
print(f"places 1 to 9 after 100 steps from place 5: {held[0]:.3f}, in the limit {held[1]:.3f}")
down = torch.stack([rug.P[i, i + 1] / one_aside[i, i + 1] for i in range(5, 9)])
print("accepted from place 5 down to place 9:", down.numpy().round(2))
assert abs(held[0] - 0.635) < 0.001 and down.min() > 0.5 and down.max() < 0.85
assert abs(down.prod() - goal[9] / goal[5]) < 1e-6

# %% [markdown]
# Move the slider. This $\pi$ has two peaks, at the sunny places 5 and 15; peaks are called *modes*. From place 5, the probability of places 1 to 9 falls slowly: it is 0.635 after 100 steps, and 0.466 in the limit. The four steps to the dark place 9 are accepted with probability 0.51 to 0.84 each, and all four with probability $\pi_9/\pi_5=0.17$.
#
# A chain of small steps moves slowly from mode to mode. From place 9, between the modes, the distance after 100 steps is only 0.044.


# %%
def draw_rug(figure, n=100, start=5):
    axis = figure.subplots()
    axis.set(xlabel="place on the rug (23 lies beside 0)", ylabel="probability", ylim=(0, 0.25))
    show = chain_plot.draw_target(axis, goal, "sunshine, as a probability")

    def update(n, start):
        row = rug.distribution(start, n)
        return show(row, f"total variation {total_variation(row, goal):.3f} after {n} steps")

    update(n, start)
    return update


# %%
from ipywidgets import SelectionSlider

slider = SelectionSlider(options=sorted({round(1.3**k) - 1 for k in range(28)} | {100}), value=100)
Redraw(draw_rug, n=slider, start=(0, 23), labels={"n": "steps n", "start": "starts at"},
       alt=lambda n, start: f"Bars, the distribution {n} steps after place {start}, and a line with "
       "two peaks, the sunshine.")  # fmt: skip

# %% [markdown]
# ### 3.6 The bridge: a chain whose stationary distribution is the normal one
#
# The states may also be numbers. Let one step shrink $x$ a little and add a little noise:
#
# $$x_n=\sqrt{1-\beta}\;x_{n-1}+\sqrt\beta\;\varepsilon_n,\qquad\varepsilon_n\sim\mathcal N(0,1),\quad 0<\beta<1.$$
#
# Why the two roots? Compute mean and variance. A factor multiplies the variance by its square. The variances add, since $\varepsilon_n$ is independent of the past:
#
# $$m_n=\sqrt{1-\beta}\;m_{n-1},\qquad v_n=(1-\beta)\,v_{n-1}+\beta.$$
#
# So the mean goes to 0: $m_n=(1-\beta)^{n/2}m_0$. For the variance subtract 1 on both sides, $v_n-1=(1-\beta)(v_{n-1}-1)$. Then
#
# $$v_n=1+(1-\beta)^n\,(v_0-1)\;\longrightarrow\;1.$$
#
# **With the roots, the squares of the two factors sum to one**, $(1-\beta)+\beta=1$, so a variance of 1 stays 1. And a sum of independent Gaussians is Gaussian. So $\mathcal N(0,1)$ is stationary. A check with $\beta=0.02$ and the start $\mathcal N(3,0.5^2)$:

# %% tags=["nbval-check-output"]
chain = GaussianChain(beta=0.02)
for n in (0, 10, 100, 1000):
    mean, variance = chain.moments(3, 0.5, n)
    print(f"after {n:4} steps: mean {mean:.5f}, variance {variance:.6f}")
print("from N(0, 1), after 1000 steps:", chain.moments(0, 1, 1000))

# %% [markdown]
# By simulation:

# %%
generator = torch.Generator().manual_seed(0)
x = 3 + 0.5 * torch.randn(5000, 1, generator=generator, dtype=torch.float64)
paths = [x[:, 0]]
for _ in range(200):
    x = chain.step(x, generator)
    paths.append(x[:, 0])
paths = torch.stack(paths)  # (201, 5000)
exact = torch.tensor([chain.moments(3, 0.5, n) for n in range(201)])  # (201, 2)
assert (paths.mean(1) - exact[:, 0]).abs().max() < 0.07  # five standard errors
assert (paths.var(1) - exact[:, 1]).abs().max() < 0.1
figure, axis = plots.subplots(size=(9, 3.2))
chain_plot.draw_band(axis, paths[:, :12], exact)
axis.set(title="Twelve walks, the exact mean, and two standard deviations around it",
         xlabel="steps n", ylabel="x")  # fmt: skip
plots.show(figure, "Twelve walks start around 3. The exact mean falls to 0.40 in 200 steps, "
           "and the band around it becomes twice as wide. One walk leaves it far below.")  # fmt: skip

# %% [markdown]
# At each step about 5 % of the 5,000 walks are outside the band; one of these twelve falls unusually far.
#
# But mean and variance are not the whole distribution, and pictures do not have a Gaussian distribution. So **insert the step into itself $n$ times.** The independent noises add up to one Gaussian. Its variance is $v_n$ for $v_0=0$:
#
# $$x_n=(1-\beta)^{n/2}\,x_0+\sqrt{1-(1-\beta)^n}\;\bar\varepsilon_n,\qquad\bar\varepsilon_n\sim\mathcal N(0,1).$$
#
# For every fixed $x_0$ the first term goes to 0, and the second to $\mathcal N(0,1)$. Every pixel of a picture gets its own independent noise. **So the limit is $\mathcal N(0,I)$ from every start.** A check with two pixels that start at 1 and −1. For each pixel, take the largest difference between the distribution functions of $\bar\varepsilon_n$ and of $\mathcal N(0,1)$. The last number is the larger of the two. The last line gives it for exact draws from $\mathcal N(0,1)$:

# %%
generator, start = torch.Generator().manual_seed(0), torch.tensor([1.0, -1.0]).double()
ranks = torch.arange(1, 20_001)[:, None] / 20_000  # the distribution function at sorted draws


def largest_gap(uniform):
    """From the distribution function of uniform draws, for draws (…, 20_000, 2)."""
    return (uniform.sort(-2).values - ranks).abs().amax((-2, -1))


x = start.repeat(20_000, 1)
for n in range(1, 401):
    x = chain.step(x, generator)
    if n in (20, 100, 400):
        kept = (1 - chain.beta) ** n
        noise = (x - kept**0.5 * start) / (1 - kept) ** 0.5  # ε̄, if the formula is right
        gap = largest_gap(torch.special.ndtr(noise))  # uniform on [0, 1], if it is N(0, 1)
        print(f"n = {n:3}: mean {x.mean(0).numpy().round(3)}, formula "
              f"{(kept**0.5 * start).numpy().round(3)}; difference {gap:.4f}")  # fmt: skip
        assert gap < 0.015 and (noise.T.cov() - torch.eye(2)).abs().max() < 0.05
chance = largest_gap(torch.rand(60, 20_000, 2, generator=generator))  # 60 times exact draws
print(f"exact draws: difference {chance.mean():.4f} ± {chance.std():.4f}")
assert abs(chance.mean() - 0.007) < 0.001

# %% [markdown]
# Is this the same theory? Take 161 points from −6 to 6 as states, with a transition probability between each two of them. This is an ordinary `Chain`:

# %% tags=["nbval-check-output"]
beta, x = 0.2, torch.linspace(-6, 6, 161, dtype=torch.float64)
weight = torch.exp(-((x - (1 - beta) ** 0.5 * x[:, None]) ** 2) / (2 * beta))  # (from, to)
grid = Chain(weight / weight.sum(1, keepdim=True))
normal = torch.exp(-(x**2) / 2)
distance = total_variation(grid.stationary(), normal / normal.sum())
values = grid.eigenvalues().real[:4]
powers = torch.tensor([(1 - beta) ** (k / 2) for k in range(4)]).double()
print(f"TV between its stationary distribution and the normal one: {distance:.6f}")
print("its eigenvalues:", values.numpy().round(5))
print("√(1 − β)^k     :", powers.numpy().round(5))
assert distance < 1e-8 and (values - powers).abs().max() < 1e-5

# %% [markdown]
# The stationary distribution is the normal one, and $\lambda_2=\sqrt{1-\beta}$ is the factor by which the mean decays in one step. **On this grid the theory of section 3.4 gives the numbers of the Gaussian chain.**
#
# Now the cloud. Which becomes invisible first, the whiskers or the ears?


# %%
def film(beta, times):
    generator = torch.Generator().manual_seed(0)
    x = cat_cloud(3000, generator)
    for n in range(max(times) + 1):
        if n in times:
            yield chain_plot.cloud_picture(x)
        x = GaussianChain(beta).step(x, generator)


for n in (1, 20, 40, 500):
    mean, variance = GaussianChain(0.005).moments(1.9, 0, n)
    print(f"β = 0.005, n = {n:3}: standard deviation of the noise {variance**0.5:.2f}, "
          f"mean of x₁ {mean:.2f}")  # fmt: skip
times = sorted({round(1.16**k) - 1 for k in range(43)})  # 0 … 500, dense at the start
Filmstrip({f"{beta}": list(film(beta, times)) for beta in (0.005, 0.02, 0.08)}, choose="β",
          labels=[f"n = {n}" for n in times], start=4,
          alt="A cloud of dots that was a cat's face, in axes x₁ and x₂, and a dashed circle")  # fmt: skip

# %% [markdown]
# A whisker is 0.03 thick. After one step the noise is 0.07, and you cannot see single whiskers any more. The ears are larger, so they disappear later: between $n=20$ and $n=40$, where the noise is 0.31 to 0.43. The cloud's mean changes most slowly: at $n=500$ it is still 0.54. The dashed circle, of radius 2, holds $1-e^{-2}\approx86\,\%$ of a standard normal cloud.
#
# ### 3.7 And backwards?
#
# The cat eats. What did it do ten minutes ago? Bayes' rule answers:
#
# $$\Pr(X_{n-1}=i\mid X_n=j)=\frac{(S_{n-1})_i\,P_{ij}}{(S_n)_j}.$$
#
# Forward, a step depends on $P$ alone. **Backward, it also depends on $S_{n-1}$**, and so on the start and on $n$. In the stationary distribution, and with detailed balance, the backward step is equal to the forward step:


# %% tags=["nbval-check-output"]
def one_step_back(S, P):
    joint = S[:, None] * P  # (from, to)
    return (joint / joint.sum(0)).T  # row: now, column: before


earlier = {f"at step {n + 1}": cat.distribution("sleep", n) for n in (1, 4)}
for name, S in (earlier | {"after a long time": pi}).items():
    back = one_step_back(S, cat.P)[2]
    before = ", ".join(f"{state} {share:.3f}" for state, share in zip(cat.states, back))
    print(f"it eats {name:17} → ten minutes ago: {before}")
print("after a long time, backward is forward:", torch.allclose(one_step_back(pi, cat.P), cat.P))

# %%
generator = torch.Generator().manual_seed(0)
first = torch.multinomial(asleep @ cat.P, 200_000, replacement=True, generator=generator)
second = torch.multinomial(cat.P[first], 1, generator=generator)[:, 0]
counted = torch.bincount(first[second == 2], minlength=3).double() / (second == 2).sum()
print("counted, it eats at step 2 → before:", counted)
assert total_variation(counted, one_step_back(asleep @ cat.P, cat.P)[2]) < 0.02

# %% [markdown]
# So *to run a chain backwards you need the distributions that it went through*. If it starts with photographs, no formula for these distributions is known.

# %% [markdown]
# ## 4 · The real code
#
# First $S_n=S_0P^n$, and the walk, which draws from the row of its state:

# %%
show_source(Chain.distribution, Chain.walk)

# %% [markdown]
# The stationary distribution in three ways: $(P^\top-I)\pi^\top=0$ with one row replaced; the left eigenvector; $S\leftarrow SP$ until it stops. Then the distance, $\frac12\sum|p-q|$:

# %%
show_source(by_linear_solve, by_eigenvector, by_power_iteration, total_variation)

# %% [markdown]
# Optional: Metropolis–Hastings, $a_{ij}=\min\{1,\pi_jq_{ji}/\pi_iq_{ij}\}$. And the Gaussian chain, $\sqrt{1-\beta}\,x+\sqrt\beta\,\varepsilon$:

# %%
show_source(metropolis_hastings, GaussianChain)

# %% [markdown]
# ## 5 · Play: what makes a chain forget?
#
# Each entry has a slider. When you move one, the other entries of its row share the rest. The circles show the distribution at $n=40$, the dashed lines $\pi$. Try to
#
# 1. make the cat eat about half of the time, by moving **one** slider;
# 2. make it forget as *slowly* as you can, but it must still converge;
# 3. make it forget in a **single** step. What do the rows have in common? Compare with "two steps" in the menu;
# 4. choose "round and round" and "two rooms" from the menu. Which has one stationary distribution, which has several? Then move one slider a little: which slider repairs which chain?

# %%
names = cat.states
ChainEditor(
    cat,
    presets={
        "independent": Chain([[0.5, 0.3, 0.2]] * 3, names),
        "two steps": Chain([[0.5, 0.5, 0], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2]], names),
        "a slow cat": Chain(0.1 * cat.P + 0.9 * torch.eye(3).double(), names),
        "round and round": Chain([[0, 1, 0], [0, 0, 1], [1, 0, 0]], names),
        "two rooms": Chain([[0.9, 0.1, 0], [0.3, 0.7, 0], [0, 0, 1]], names),
    },
)

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. Raise eat → eat to 0.97. The dashed line, $\pi$, is at 0.526; the circle, $n=40$ from sleep, shows 0.483.
#
# 2. Push each "stay" towards 1: $|\lambda_2|\to1$. At exactly 1 it forgets nothing.
#
# 3. All rows must be equal. Then $\lambda_2=\lambda_3=0$. The reverse is not true: "two steps" has the same eigenvalues and different rows.
#
# 4. "Round and round" has one, $(\frac13,\frac13,\frac13)$, and does not converge to it: it has period 3. Each slider repairs it, because it adds a round trip of another length.
#
# "Two rooms" has infinitely many. It needs an arrow between the rooms. With a little eat → sleep, the cat never eats in the long run; with a little sleep → eat, it only eats.
# </details>

# %% jupyter={"source_hidden": true}
for arrow, end in (((2, 0), [0.75, 0.25, 0]), ((0, 2), [0, 0, 1])):
    P = torch.tensor([[0.9, 0.1, 0], [0.3, 0.7, 0], [0, 0, 1]]).double()
    P[arrow], P[arrow[0], arrow[0]] = 0.02, P[arrow[0], arrow[0]] - 0.02
    assert torch.allclose(Chain(P).stationary(), torch.tensor(end).double(), atol=1e-6)
edited = Chain(torch.stack([*cat.P[:2], rescaled(cat.P[2], 2, 0.97)]), cat.states)
assert abs(edited.stationary()[2] - 0.526) < 0.0006
assert abs(edited.distribution("sleep", 40)[2] - 0.483) < 0.0006

# %% [markdown]
# ## 6 · The estimate: counting
#
# You have a long list, sleep, sleep, eat, play, …, and do not know $P$. **Choose the parameters under which your data are most likely.** This is maximum likelihood; lesson 03 starts from it, too. If $N_{ij}$ is how often you saw a step from $i$ to $j$, the log-probability of the whole walk is
#
# $$\log\Pr(\text{walk})=\text{const}+\sum_{N_{ij}>0}N_{ij}\log P_{ij},\qquad\text{under}\quad\sum_jP_{ij}=1.$$
#
# With a Lagrange multiplier $\mu_i$ for each row, $\partial/\partial P_{ij}$ gives $N_{ij}/P_{ij}=\mu_i$ where $N_{ij}>0$; where $N_{ij}=0$, $P_{ij}=0$ is best. So $P_{ij}$ is proportional to $N_{ij}$, and since rows sum to 1,
#
# $$\hat P_{ij}=\frac{N_{ij}}{\sum_kN_{ik}}.$$
#
# **Here, learning is counting.** A. A. Markov did this in 1913, by hand, with 20,000 letters of *Eugene Onegin*. First a check against 1,000 matrices near $\hat P$:

# %%
path = cat.walk(1000, "sleep", torch.Generator().manual_seed(0))
N = torch.zeros(3, 3, dtype=torch.float64)
for i, j in zip(path, path[1:]):
    N[i, j] += 1
step_by_step = sum(cat.P[i, j].log() for i, j in zip(path, path[1:]))
assert (N > 0).all() and abs(step_by_step - (N * cat.P.log()).sum()) < 1e-9
best = N / N.sum(1, keepdim=True)
others = torch.rand(1000, 3, 3, generator=torch.Generator().manual_seed(0)).double()
others = 0.9 * best + 0.1 * others / others.sum(2, keepdim=True)  # near to it, rows sum to 1
likely = [(N * P.log()).sum().item() for P in (best, cat.P, *others)]
print(f"log-probability: P̂ {likely[0]:.2f}, P {likely[1]:.2f}, best other {max(likely[2:]):.2f}")
assert max(likely[1:]) < likely[0]

# %% [markdown]
# Then we watch 100 cats and estimate one matrix from each.


# %%
def learning(chain, cats, steps, every, generator):
    """Watch cats walk; yield now and then the number of steps and the estimate from each."""
    edges, now = chain.P.cumsum(1)[:, :-1], torch.zeros(cats, dtype=torch.long)
    counts, rows = torch.zeros(cats, 3, 3, dtype=torch.float64), torch.arange(cats)
    for n in range(1, steps + 1):
        after = (torch.rand(cats, 1, generator=generator) > edges[now]).sum(1)
        counts[rows, now, after] += 1
        now = after
        if n % every == 0:
            yield n, counts / counts.sum(2, keepdim=True)


# %%
def errors(learned):
    """(cats, 3): the largest error in each row of the estimates (cats, 3, 3)."""
    return (learned - cat.P).abs().amax(2)


def draw(figure, seen):
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    n = torch.tensor([n for n, _ in seen])
    means = torch.stack([errors(learned).mean(0) for _, learned in seen])
    for k, name in enumerate(cat.states):
        left.loglog(n, means[:, k], color=plots.COLORS[k], label=f"row of {name}")
    left.loglog(n, n**-0.5, "--", color=plots.BLACK, linewidth=1, label=r"$n^{-1/2}$")
    left.set(xlabel="steps watched", title="Largest error in a row, mean of 100 walks")
    left.legend()
    draw_chain(right, Chain(seen[-1][1][0], cat.states))
    right.set_title(f"From one walk of {n[-1]:,} steps")


walks = learning(cat, 100, 20_000, 500, torch.Generator().manual_seed(0))
seen = watch(walks, draw, size=(10, 3.8),
             alt="Left: three lines fall in parallel to the dashed one, eat highest, sleep lowest. "
             "Right: the estimated graph is close to the true one.")  # fmt: skip

# %%
print("steps watched   largest error in the row, mean ± standard error of 100 walks")
for n in (500, 2_000, 20_000):
    learned = errors(seen[n // 500 - 1][1])
    mean, error = learned.mean(0), learned.std(0) / 100**0.5
    shown = "   ".join(f"{name} {m:.4f} ± {e:.4f}" for name, m, e in zip(cat.states, mean, error))
    print(f"{n:13,}   {shown}")
    assert mean[2] - mean[1] > 4 * error[2] and mean[1] - mean[0] > 4 * error[1]
    others = (learned.argmax(1) < 2).sum().item()
    print(" " * 15, f"in {others} of the 100 walks the row of eat is not the worst")
    assert 5 < others < 15
first, last = errors(seen[0][1]).mean(0), errors(seen[39][1]).mean(0)
slope = (last / first).log() / torch.tensor(40.0).log()
print("slopes of the lines:", slope.numpy().round(2))
assert (slope + 0.5).abs().max() < 0.1

# %% [markdown]
# The error falls about as $n^{-1/2}$. The row of *eat* is estimated worst on average. One reason: the cat eats one time in sixteen, so this row has a sixteenth of the data. Another: an estimated $p$ has variance $p(1-p)/N_i$, with $N_i$ visits, and $p(1-p)$ is largest at ½. In a single walk the order can differ: in about 9 of the 100 walks another row is the worst.

# %% [markdown]
# ## 7 · Measure
#
# A finite, irreducible, aperiodic chain has constants with $\mathrm{TV}(S_n,\pi)\le C\alpha^n$, $\alpha<1$ (Levin, Peres and Wilmer, Theorem 4.9). For ours $\alpha=|\lambda_2|=0.7414$. Do simulated cats agree? We count where $N=20{,}000$ of them are, with 20 seeds.
#
# Such a table needs a **floor**: counts of 20,000 cats drawn from $\pi$ itself also differ a little from $\pi$. A distance at the floor cannot be distinguished from 0.


# %%
def count_cats(start, seed, N=20_000, steps=20):
    """Total variation between N counted cats and π, after 0, 1, …, steps."""
    generator, distances = torch.Generator().manual_seed(seed), []
    cats = torch.multinomial(start, N, replacement=True, generator=generator)
    for _ in range(steps + 1):
        distances.append(total_variation(torch.bincount(cats, minlength=3) / N, pi))
        uniform = torch.rand(N, 1, generator=generator)
        cats = (uniform > cat.P.cumsum(1)[cats, :2]).sum(1)  # which part of the row it falls into
    return torch.stack(distances)


runs = torch.stack([count_cats(asleep, seed) for seed in range(20)])  # (20, 21)
from_pi = torch.stack([count_cats(pi, 100 + seed) for seed in range(20)])
floor, floor_sd = from_pi.mean(), from_pi.std()
exact = torch.stack([total_variation(cat.distribution("sleep", n), pi) for n in range(21)])

# %%
print(" n   theory    counted: mean ± sd of 20    floor: mean ± sd")
for n in (0, 1, 5, 10, 15, 16, 20):
    mean, sd = runs[:, n].mean(), runs[:, n].std()
    print(
        f"{n:2}   {exact[n]:.4f}    {mean:.4f} ± {sd:.4f}             {floor:.4f} ± {floor_sd:.4f}"
    )
factors = (runs[:, 10] / runs[:, 2]) ** (1 / 8)
mean, error, theory = factors.mean(), factors.std() / 20**0.5, (exact[10] / exact[2]) ** (1 / 8)
print(f"factor per step from n = 2 to 10: counted {mean:.4f} ± {error:.4f} (standard error), "
      f"theory {theory:.4f}, |λ₂| {cat.eigenvalues()[1].abs():.4f}")  # fmt: skip
assert abs(mean - theory) < 3 * error and runs[:, 20].mean() > 2 * exact[20]
misses = (runs.mean(0) - exact).abs()[1:] / (runs.std(0)[1:] / 20**0.5)  # in standard errors
assert misses[:15].max() < 3 < misses[17:].min()  # n = 1 … 15, and n = 18, 19, 20
assert (runs.mean(0)[16:] - floor).abs().max() < floor_sd

# %%
figure, axis = plots.subplots(size=(8, 3.2))
axis.semilogy(exact, "--", color=plots.BLACK, linewidth=1, label="theory")
axis.errorbar(range(21), runs.mean(0), runs.std(0), fmt="o", color=plots.BLUE, markersize=4,
              linewidth=1, label="20,000 cats, 20 seeds, mean ± sd")  # fmt: skip
axis.axhline(floor, color=plots.VERMILLION, linewidth=1, label="floor: cats drawn from π")
axis.set(title="The counted distance follows the theory down to the floor", xlabel="steps n",
         ylabel="total variation", xticks=range(0, 21, 5))  # fmt: skip
axis.legend()
plots.show(figure, "The counted total variation is near the line of the theory down to 0.004, at "
           "n = 15. From n = 16 on it stays near the floor, 0.003.")  # fmt: skip

# %% [markdown]
# **They agree:** the factor per step, and the distance up to $n=15$, are those of the theory within three standard errors. But chance adds to a counted distance, so near the floor it is too large on average: at $n=20$ it is 0.0034, and the theory says 0.0009. From $n=16$ on it stays near the floor, and does not test the theory any more.

# %% [markdown]
# ## 8 · Break it
#
# Two chains that do not forget their start, and two mistakes. Learn to recognize all four:

# %%
swing = Chain([[0, 1], [1, 0]], ("tick", "tock"))
rooms = Chain([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0, 0, 0.6, 0.4], [0, 0, 0.4, 0.6]])
factors = {
    "right: √(1−β) and √β": (0.98, 0.02),
    "β for √β": (0.98, 0.02**2),
    "no shrinking": (1, 0.02),
}
variances = {name: [0.25] for name in factors}
for name, (kept, added) in factors.items():
    for _ in range(200):
        variances[name].append(kept * variances[name][-1] + added)
print({name: round(variance[-1], 3) for name, variance in variances.items()})

# %%
figure, axes = plots.subplots(1, 3, size=(10, 3.1))
axes[0].plot([swing.distribution("tick", n)[0] for n in range(21)], "o-", markersize=3)
axes[0].set(title="Periodic: no convergence", ylabel="probability of tick")
for start in range(4):
    row = [rooms.distribution(start, n)[0] for n in range(21)]
    axes[1].plot(row, "--" if start == 3 else "-", label=f"from {start}")
axes[1].set(title="Reducible: the start decides", ylabel="probability of state 0")
for name, variance in variances.items():
    axes[2].plot(variance, label=name)
axes[2].set(title="Gaussian: wrong factors", ylabel="variance")
for axis in axes:
    axis.set_xlabel("steps n")
axes[1].legend(loc="center", bbox_to_anchor=(0.75, 0.3))
axes[2].legend()
plots.show(figure, "Left: zigzag between 0 and 1. Middle: from 0 and 1 the probability goes to 0.67, "
           "from 2 and 3 it stays 0. Right: the variance goes to 1, to 0.02, or grows.")  # fmt: skip

# %% [markdown]
# **Periodic.** The chain alternates between `tick` and `tock`. A stationary distribution exists, $(\frac12,\frac12)$, but from `tick` the chain never comes nearer to it: its second eigenvalue is $-1$, and $|-1|^n$ does not fall. Power iteration finds it only from $(\frac12,\frac12)$ itself. The linear solve finds it, and so does the share of time in one walk:

# %%
print("period", swing.period(), "· eigenvalues", swing.eigenvalues().real.numpy())
print("by linear solve:", swing.stationary())
try:
    swing.stationary(by_power_iteration)
except ValueError as error:
    print("by power iteration:", error)
even = torch.tensor([0.5, 0.5]).double()
assert torch.equal(even @ swing.P, even)
ticks = torch.bincount(torch.tensor(swing.walk(1000, "tick")[1:])) / 1000
print("share of time in one walk:", ticks)
assert torch.equal(ticks.double(), even)
lazy = Chain(0.5 * swing.P + 0.5 * torch.eye(2), swing.states)
print(
    "if at each step it stays with probability ½, else it moves:",
    lazy.stationary(by_power_iteration),
)

# %% [markdown]
# **Reducible.** No step leads from the states $\{0,1\}$ to $\{2,3\}$ or back. Each group has its own stationary distribution, and each mixture of the two is stationary, too. The eigenvalue 1 occurs twice, and labkit raises an error:

# %%
print("eigenvalues", rooms.eigenvalues().real.numpy().round(4))
try:
    rooms.stationary()
except ValueError as error:
    print(error)

# %% [markdown]
# **Rows in place of columns.** Some books put the distribution into a column and write $S_{n+1}=PS_n$, with columns that sum to 1. Both conventions are right; do not mix them. `Chain` refuses rows that do not sum to 1. If rows *and* columns sum to 1, the transpose raises no error. A wrong product raises none either:

# %%
try:
    Chain(cat.P.T, cat.states)
except ValueError as error:
    print(error)
round_trip = Chain([[0, 1, 0], [0, 0, 1], [1, 0, 0]], cat.states)
print("accepted:", Chain(round_trip.P.T, cat.states).P.tolist())
print("P @ S raises no error, but its sum is", round((cat.P @ asleep).sum().item(), 6))

# %% [markdown]
# **Wrong factors**, in the panel at the right. With $\beta$ in place of $\sqrt\beta$ the variance goes to $\beta=0.02$ and not to 1. Without the shrinking it grows without bound.

# %% [markdown]
# ## 9 · Exercises
#
# Write into the stub and run the cell. A hint and a solution are folded under each (click the three dots).
#
# ### 9.1 Where is it after n steps? &nbsp; ● 5 minutes
#
# The formula $S_n=S_0P^n$, for a whole number $n\ge0$.


# %%
def after_n_steps(S, P, n):
    """The distribution (k,) after n steps from S (k,), with transition matrix P (k, k)."""
    ...


checks.after_n_steps(after_n_steps)

# %% [markdown]
# <details><summary>Hint</summary>A row times a matrix is <code>S @ P</code>. What must n = 0 return?</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def after_n_steps_solution(S, P, n):
    for _ in range(n):
        S = S @ P
    return S


checks.after_n_steps(after_n_steps_solution).require()

# %% [markdown]
# ### 9.2 Estimate the matrix from a walk &nbsp; ● 10 minutes
#
# This is the estimate of section 6. `path` is a list of state numbers, such as `[0,0,2,1,…]`. Each of the `k` states is left at least once.


# %%
def count_transitions(path, k):
    """The maximum-likelihood transition matrix (k, k), float64, of a walk."""
    ...


checks.count_transitions(count_transitions)

# %% [markdown]
# <details><summary>Hint</summary><code>zip(path, path[1:])</code> gives the steps. Count them, then divide each row by its sum, <code>sum(1, keepdim=True)</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def count_transitions_solution(path, k):
    counts = torch.zeros(k, k, dtype=torch.float64)
    for i, j in zip(path, path[1:]):
        counts[i, j] += 1
    return counts / counts.sum(1, keepdim=True)


checks.count_transitions(count_transitions_solution).require()

# %% [markdown]
# ### 9.3 The stationary distribution &nbsp; ●● 15 minutes
#
# Return $\pi$ `(k,)` with $\pi P=\pi$ for an irreducible chain. **Some of the chains that the check draws are periodic.**


# %%
def stationary_distribution(P):
    """π (k,), float64, with π P = π and sum 1, for an irreducible P (k, k)."""
    ...


checks.stationary_distribution(stationary_distribution)

# %% [markdown]
# <details><summary>Hint</summary>Either replace one equation of (P.T−I)π=0 by "the sum is 1" and call <code>torch.linalg.solve</code>; or take from <code>torch.linalg.eig(P.T)</code> the column whose eigenvalue is nearest to 1. The columns come in no fixed order, complex, with any sign and length.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def stationary_distribution_solution(P):
    values, vectors = torch.linalg.eig(P.T)
    vector = vectors[:, (values - 1).abs().argmin()].real
    return vector / vector.sum()


checks.stationary_distribution(stationary_distribution_solution).require()

# %% [markdown]
# ### 9.4 Optional: a chain for a given distribution &nbsp; ●● 20 minutes
#
# Build the Metropolis–Hastings matrix. `target` holds positive weights that need not sum to 1. The proposal `Q` is positive and **not** symmetric.


# %%
def metropolis_matrix(target, Q):
    """The Metropolis–Hastings transition matrix (k, k) for target (k,) and proposal Q (k, k)."""
    ...


checks.metropolis_matrix(metropolis_matrix)

# %% [markdown]
# <details><summary>Hint</summary><code>flow = target[:, None] * Q</code> is the flow π_i q_ij; <code>flow.T</code> is the flow back. The acceptance is their ratio, at most 1. A refused move stays where it is: look at the row sums.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def metropolis_matrix_solution(target, Q):
    flow = target[:, None] * Q
    P = torch.minimum(flow, flow.T) / target[:, None]
    return P + torch.diag(1 - P.sum(1))


checks.metropolis_matrix(metropolis_matrix_solution).require()

# %% [markdown]
# ### 9.5 One step towards noise &nbsp; ● 5 minutes
#
# The step of section 3.6, with the noise `eps` given.


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
# ### 9.6 How long until the start is forgotten? &nbsp; ●●● 45 minutes
#
# The **mixing time** is the smallest $n\ge0$ for which $\mathrm{TV}(S_n,\pi)\le$ `tolerance` **for every start**. Return a whole number.
#
# Then take all three-state chains with the stationary distribution $(\frac13,\frac13,\frac13)$ that stay in each state with probability at least ½. Which has the smallest $|\lambda_2|$?


# %%
def steps_to_forget(P, tolerance):
    """The smallest n with TV(S_n, π) ≤ tolerance from the worst start, for P (k, k)."""
    ...


checks.steps_to_forget(steps_to_forget)

# %% [markdown]
# <details><summary>Hint</summary>Row i of Pⁿ is S_n for the start in i. So compare all rows of Pⁿ with π at once and take the largest distance. (TV is convex: a mixture of starts is never farther away than the farthest of them.)</details>
#
# <details><summary>Answer to the second question</summary>The chain that goes to each of the other two states with probability ¼: it has λ₂ = λ₃ = ¼. No other does better: λ₂ + λ₃ is the trace minus 1, so at least 3/2 − 1 = ½, and one of them is at least ¼ in size.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def steps_to_forget_solution(P, tolerance):
    pi, rows, n = by_linear_solve(P), torch.eye(len(P), dtype=P.dtype), 0
    while total_variation(rows, pi).max() > tolerance:
        rows, n = rows @ P, n + 1
    return n


even = torch.tensor([[2, 1, 1], [1, 2, 1], [1, 1, 2]]).double() / 4
circle = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1]]).double() / 2
for name, P in {"¼ to each": even, "round": circle}.items():
    needed, second = steps_to_forget_solution(P, 0.01), Chain(P).eigenvalues()[1].abs()
    print(f"{name}: {needed} steps to TV ≤ 0.01, |λ₂| = {second:.2f}")
checks.steps_to_forget(steps_to_forget_solution).require()

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A transition matrix has the row (0.2, 0.5, 0.3); the states are numbered from 0. What does the 0.5 say?",
    {
        "When the chain is in state 1, it came from this state with probability ½": "This is the step backwards. It needs Bayes' rule and the distribution before the step.",
        "From this state, the next one is state 1 with probability ½": "A row says where the chain goes. That is why rows sum to 1.",
        "The chain spends half of its time in state 1": "That is what the stationary distribution says. A single row does not.",
    },
    answer="From this state, the next one is state 1 with probability ½",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A finite chain has the stationary distribution $\\pi$. What is enough for $S_n$ to converge to $\\pi$ from every start?",
    {
        "Nothing more: that is what stationary means": "Stationary means: if the chain has this distribution, it keeps it. The chain tick, tock has (½, ½) and does not converge to it.",
        "All states can be reached from each other": "That makes π unique. But in the chain tick, tock all states can be reached, too, and it does not converge.",
        "All states can be reached from each other, and the chain is aperiodic": "Then every eigenvalue except one is smaller than 1 in size, and the other terms go to 0.",
    },
    answer="All states can be reached from each other, and the chain is aperiodic",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Two chains have $|\\lambda_2|=0.9$ and $|\\lambda_2|=0.99$. In the long run, how many steps does the second need to halve the distance, compared with the first? Take a start with $c_2\\ne0$.",
    {
        "About 1.1 times as many": "This is the ratio of the eigenvalues. The number of steps depends on their logarithms.",
        "About ten times as many": "Steps to halve: log ½ / log |λ₂|, so 69 against 6.6. The gap 1 − |λ₂| is 0.01 against 0.1.",
        "That depends on the start alone": "The start sets the constant C. The factor per step depends only on P.",
    },
    answer="About ten times as many",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does $x_n=\\sqrt{1-\\beta}\\,x_{n-1}+\\sqrt{\\beta}\\,\\varepsilon$ have roots?",
    {
        "So that the factors sum to 1": "They do not: for β = 0.02, √0.98 + √0.02 ≈ 1.13. Their squares do.",
        "So that a variance of 1 stays 1": "Variances are multiplied by the squares: (1 − β)·1 + β = 1. So N(0, I) is stationary.",
        "So that β may be larger than 1": "Then √(1 − β) would not even be real.",
    },
    answer="So that a variance of 1 stays 1",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why can we not compute the backward step of the noising chain for photographs from its formula alone?",
    {
        "Because noise cannot be subtracted": "If you knew the noise that was added, you could subtract it. You know only its distribution.",
        "Because the Gaussian chain has no detailed balance": "It has, in its stationary distribution. But that is noise, not photographs.",
        "Because the backward step needs the distribution of the photographs": "Bayes' rule needs the distribution before the step, and so the one that the chain started with. No formula is known for it.",
    },
    answer="Because the backward step needs the distribution of the photographs",
)

# %% [markdown]
# ## 11 · Recap
#
# - In a **Markov chain** the next state depends only on the present one, and $S_n=S_0P^n$.
# - **Stationary**: one more step changes nothing, $\pi P=\pi$. Solve it as a linear system, take a left eigenvector, or iterate if the chain converges.
# - The distance decays **like** $|\lambda_2|^n$. Periodic chains need not converge; in reducible ones the start can decide.
# - $\pi$ is also the **share of time** in one long walk. To estimate $P$, count.
# - The chain $\sqrt{1-\beta}\,x+\sqrt\beta\,\varepsilon$ takes every start to $\mathcal N(0,I)$. The backward step depends on the start.
#
# **What the next lesson fixes.** Noise came in many small steps. Lesson 02 takes them in **one jump**, lets $\beta$ change with time, and asks which $\beta$ are good.
#
# **References**
# - Markov, 1913 (*Eugene Onegin*) · Metropolis et al., J. Chem. Phys. 1953 · Hastings, Biometrika 1970.
# - Levin, Peres and Wilmer, *Markov Chains and Mixing Times*.
# - Sohl-Dickstein et al., ICML 2015.
