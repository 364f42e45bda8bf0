# The course in a container: by itself, or for the single users of a JupyterHub. See
# docs/containers.md.
FROM python:3.12-slim

# what pip gets for torch (see "The size of torch" in README.md), and the version of your hub
ARG TORCH=torch
ARG JUPYTERHUB=jupyterhub

COPY . /srv/labkit
WORKDIR /srv/labkit
RUN python -m pip install --no-cache-dir --constraint constraints.txt $TORCH
RUN python -m pip install --no-cache-dir --constraint constraints.txt . "$JUPYTERHUB"
RUN useradd --create-home --uid 1000 learner

USER learner
WORKDIR /home/learner
ENV LABKIT_PROGRESS=/home/learner/diffusion-course/progress.json
EXPOSE 8888
# A hub puts an empty folder in the place of the home, so the lessons are copied at every start;
# what is there already stays.
ENTRYPOINT ["sh", "-c", "labkit copy && exec \"$@\"", "--"]
CMD ["labkit", "lab", "--ip=0.0.0.0", "--no-browser"]
