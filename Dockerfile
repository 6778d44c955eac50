# The command alone, to patch files in a mounted folder:
#   docker build -t nanonap .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" nanonap patch --binary their-service
FROM python:3.13-slim AS made
WORKDIR /src
COPY . .
# The versions that requirements.lock pins; its hashes are of wheels, and a constraint with one refuses a folder.
RUN grep -Eo '^[a-z0-9._-]+==[^ ;]+' requirements.lock > /tmp/pins \
    && python -m venv --without-pip /opt/nanonap \
    && python -m pip --python /opt/nanonap/bin/python install --no-cache-dir --constraint /tmp/pins .

FROM python:3.13-slim
COPY --from=made /opt/nanonap /opt/nanonap
ENV PATH=/opt/nanonap/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["nanonap"]
