# Private throw-away servers for tests/run and tests/bench/run, which source this file. Nothing here uses or disturbs a
# server that already runs: own directory, own port, an ordinary user, and a watchdog in case the caller is killed outright.
# shellcheck shell=bash

# as_root CMD…: runs it as root, through sudo where needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@" || sudo "$@"; fi
}

# postgres_bin: prints the directory with initdb, the newest version first; fails where there is none.
postgres_bin() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb 2>/dev/null | sort -Vr | head -n 1 || true)
  [ -n "$found" ] || found=$(command -v initdb || true)
  [ -n "$found" ] && dirname "$found"
}

# rabbitmq_bin: prints the directory with rabbitmq-server: Debian's scripts on the path insist on running as another user.
rabbitmq_bin() {
  local found
  found=$(ls /usr/lib/rabbitmq/bin/rabbitmq-server 2>/dev/null || command -v rabbitmq-server || true)
  [ -n "$found" ] && dirname "$found"
}

# install_missing [COMMAND=PACKAGE…]: installs what the tests, and the caller beyond them, need and the machine lacks. A
# PostgreSQL that comes with it gets no cluster of its own, and neither it nor a RabbitMQ is started: the tests bring theirs.
install_missing() {
  local want=() more
  { command -v cc && command -v c++; } >/dev/null || want+=(build-essential)
  command -v pkg-config >/dev/null || want+=(pkg-config)
  command -v strace >/dev/null || want+=(strace)
  command -v setsid >/dev/null || want+=(util-linux)
  postgres_bin >/dev/null || want+=(postgresql)
  rabbitmq_bin >/dev/null || want+=(rabbitmq-server)
  # For the pages of the documentation, and the examples on them.
  command -v chromium >/dev/null || want+=(chromium)
  command -v chromedriver >/dev/null || want+=(chromium-driver)
  command -v curl >/dev/null || want+=(curl)
  command -v python3 >/dev/null || want+=(python3)
  # For the example of a listener: Debian's own Python with Debian's pika, whatever other Python is on the path.
  /usr/bin/python3 -c 'import pika' 2>/dev/null || want+=(python3-pika)
  # schemathesis comes from PyPI, into an environment of its own.
  python3 -c 'import ensurepip, venv' 2>/dev/null || want+=(python3-venv)
  for more in "$@"; do
    command -v "${more%%=*}" >/dev/null || want+=("${more#*=}")
  done
  if [ ${#want[@]} = 0 ]; then
    echo "nothing is missing"
    return 0
  fi
  if ! command -v apt-get >/dev/null; then
    echo "missing: ${want[*]}; this machine has no apt-get, so please install them and run this again" >&2
    return 1
  fi
  echo "installing: ${want[*]}"
  local no_cluster=/etc/postgresql-common/createcluster.d/muster-tests.conf no_start=/usr/sbin/policy-rc.d mine=""
  as_root mkdir -p "${no_cluster%/*}"
  echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null
  if [ ! -e "$no_start" ]; then
    mine=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$no_start" >/dev/null
    as_root chmod 755 "$no_start"
  fi
  local ok=0
  as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends "$@"' \
    sh "${want[@]}" </dev/null || ok=$?
  [ -z "$mine" ] || as_root rm -f "$no_start"
  as_root rm -f "$no_cluster"
  # Nor at the next start of the machine.
  case " ${want[*]} " in *" rabbitmq-server "*) as_root systemctl disable rabbitmq-server >/dev/null 2>&1 || true ;; esac
  return "$ok"
}

# ordinary CMD…: runs it as an ordinary user, which PostgreSQL insists on: ourselves, or `nobody` where we are root.
ordinary() {
  if [ "$(id -u)" != 0 ]; then
    "$@"
  else
    (cd / && exec runuser -u "$ORDINARY_USER" -- "$@")
  fi
}
ORDINARY_USER=${MUSTER_TEST_USER:-nobody}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 20000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}

# start_postgres DIR durable|throwaway: a server of its own under DIR, on 127.0.0.1 and a free port, behind a password
# made for this run. Sets POSTGRES_URL (its superuser), POSTGRES_SOCKET and POSTGRES_PORT. `throwaway` does without fsync.
start_postgres() {
  local dir=$1/postgres kind=$2 bin password attempt
  bin=$(postgres_bin) || { echo "no PostgreSQL server binaries found" >&2; return 1; }
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  mkdir -p "$dir/socket"
  (umask 077 && printf '%s\n' "$password" >"$dir/password")
  if [ "$(id -u)" = 0 ]; then chmod 711 "$1" && chown -R "$ORDINARY_USER" "$dir"; fi
  chmod 700 "$dir"
  ordinary env LC_ALL=C "$bin/initdb" --pgdata="$dir/data" --username=muster --pwfile="$dir/password" --auth-local=trust \
    --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >"$1/initdb.log" 2>&1 || { cat "$1/initdb.log" >&2; return 1; }
  local settings="-c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir/socket -c max_connections=300"
  [ "$kind" = durable ] || settings+=" -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
  for attempt in 1 2 3 4 5; do
    POSTGRES_PORT=$(free_port)
    if ordinary env LC_ALL=C "$bin/pg_ctl" start --pgdata="$dir/data" --log="$dir/log" --wait --timeout=60 --silent \
      --options="$settings -p $POSTGRES_PORT" </dev/null >/dev/null 2>&1; then
      POSTGRES_SOCKET=$dir/socket
      POSTGRES_URL="postgres://muster:$password@127.0.0.1:$POSTGRES_PORT/postgres"
      watch_over "$1" &
      disown
      return 0
    fi
  done
  echo "PostgreSQL did not start; its log:" >&2
  cat "$dir/log" >&2
  return 1
}

# start_rabbitmq DIR: a broker of its own under DIR, on free ports of 127.0.0.1, behind a password made for this run. Sets
# AMQP_URL and AMQP_PORT. The settings are those of crates/testkit/src/rabbitmq.rs.
start_rabbitmq() {
  local dir=$1/rabbitmq bin password port epmd_port dist_port attempt
  bin=$(rabbitmq_bin) || { echo "no RabbitMQ server found" >&2; return 1; }
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  for attempt in 1 2 3; do
    rm -rf "$dir" && mkdir -p "$dir"
    port=$(free_port) epmd_port=$(free_port) dist_port=$(free_port)
    (umask 077 && printf 'listeners.tcp.1 = 127.0.0.1:%s\ndefault_user = muster\ndefault_pass = %s\n%s\n%s\n' "$port" "$password" \
      "disk_free_limit.absolute = 1MB" "raft.wal_max_size_bytes = 16777216" >"$dir/rabbitmq.conf")
    echo "[]." >"$dir/enabled_plugins"
    : >"$dir/env.conf"
    if [ "$(id -u)" = 0 ]; then chmod 711 "$1" && chown -R "$ORDINARY_USER" "$dir"; fi
    chmod 700 "$dir"
    # An epmd of its own, in the foreground: one that the node starts would outlive it. Each process writes its id down first.
    start_alone "$dir/epmd.pid" env ERL_EPMD_ADDRESS=127.0.0.1 epmd -port "$epmd_port"
    start_alone "$dir/node.pid" env HOME="$dir" LC_ALL=C.UTF-8 RABBITMQ_NODENAME="muster-$port@localhost" \
      RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port" RABBITMQ_DIST_PORT="$dist_port" \
      RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_CONF_ENV_FILE="$dir/env.conf" \
      RABBITMQ_CONFIG_FILE="$dir/rabbitmq" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" RABBITMQ_ALLOW_INPUT=yes \
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none" \
      ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$epmd_port" "$bin/rabbitmq-server"
    for _ in $(seq 600); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        AMQP_PORT=$port
        AMQP_URL="amqp://muster:$password@127.0.0.1:$port/%2f"
        return 0
      fi
      # It has ended, or was never begun.
      kill -0 "$(cat "$dir/node.pid" 2>/dev/null || echo x)" 2>/dev/null || [ "$_" -lt 20 ] || break
      sleep 0.1
    done
    cat "$dir"/log/*.log "$dir/node.pid.out" >"$1/rabbitmq.log" 2>/dev/null || true
    stop_rabbitmq "$dir"
  done
  echo "RabbitMQ did not start; its log:" >&2
  tail -n 50 "$1/rabbitmq.log" >&2
  return 1
}

# start_alone PIDFILE CMD…: starts it as the ordinary user in a session of its own, with its process id in PIDFILE.
start_alone() {
  # shellcheck disable=SC2016
  ordinary setsid --fork sh -c 'echo $$ >"$1"; cd /; out=$1.out; shift; exec "$@" >"$out" 2>&1 </dev/null' sh "$@"
}

# stop_rabbitmq DIR: kills what start_rabbitmq has started there.
stop_rabbitmq() {
  local file pid
  for file in "$1/node.pid" "$1/epmd.pid"; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    kill -KILL "$pid" 2>/dev/null || ordinary kill -KILL "$pid" 2>/dev/null || true
    for _ in $(seq 50); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    rm -f "$file"
  done
}

# stop_servers DIR: stops what was started under DIR and removes DIR. Harmless when there is nothing.
stop_servers() {
  local dir=$1 pid
  [ -n "$dir" ] && [ -d "$dir" ] || return 0
  if [ -s "$dir/postgres/data/postmaster.pid" ]; then
    pid=$(head -n 1 "$dir/postgres/data/postmaster.pid")
    kill -QUIT "$pid" 2>/dev/null || ordinary kill -QUIT "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
  fi
  stop_rabbitmq "$dir/rabbitmq"
  rm -rf "$dir"
}

# watch_over DIR: if the script that started the servers is killed so hard that its traps do not run, cleans up for it.
watch_over() {
  exec setsid bash -c '
    . "$1"
    while kill -0 "$2" 2>/dev/null && [ -d "$3" ]; do sleep 1; done
    stop_servers "$3"' watch "${BASH_SOURCE[0]}" "$$" "$1" </dev/null >/dev/null 2>&1
}
