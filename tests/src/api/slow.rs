//! Many who are slow, and one who is not.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::{Api, On, Said, people};
use crate::served::{PATIENCE, Served, until};

/// So many slow ones.
const MANY: usize = 1000;
/// The longest that anybody else waits for an answer, on a machine that is busy with other tests.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A connection over which a byte comes now and then.
struct Slow {
    stream: TcpStream,
    answer: Vec<u8>,
    ended: bool,
}

impl Slow {
    fn begin(api: &Api, head: &str) -> Slow {
        let mut stream = TcpStream::connect(api.served.address()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Slow { stream, answer: Vec::new(), ended: false }
    }

    /// Sends a byte and takes what was answered.
    fn go_on(&mut self) {
        let sent = self.stream.write(b"x");
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break self.ended = true,
                Ok(n) => self.answer.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break self.ended = true,
            }
        }
        self.ended |= sent.is_err_and(|e| e.kind() != ErrorKind::WouldBlock);
    }
}

/// This process opens as many files as there are slow ones.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// A head that never ends, a small body, and a payload: with a key where one is asked for it before the body is read.
fn heads(api: &Api) -> [String; 3] {
    let key = &api.key;
    let with_key = |line: &str| format!("{line} HTTP/1.1\r\nHost: muster\r\nAuthorization: Bearer {key}\r\n");
    [
        "GET /api/v1/organisation HTTP/1.1\r\nHost: muster\r\nX-Slow: x".to_owned(),
        with_key("POST /api/v1/eligibility") + "Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n",
        with_key("POST /api/v1/uploads?mode=full") + "Content-Type: text/csv\r\nContent-Length: 500000\r\n\r\n",
    ]
}

/// Keeps slow connections going until all of them have been ended, while somebody else asks without a pause. Gives how long the
/// longest of these waited.
fn slowly(api: &Api, all: &mut [Slow]) -> Duration {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (mut longest, mut asked) = (Duration::ZERO, 0);
            while !stop.load(Relaxed) {
                let began = Instant::now();
                let answer = api.json("POST", "/api/v1/eligibility", &json!({ "unique_id": "1" }));
                assert_eq!(answer.json()["eligible"], true, "{}", answer.body);
                longest = longest.max(began.elapsed());
                asked += 1;
                thread::sleep(Duration::from_millis(20));
            }
            assert!(asked > 50, "asked {asked} times");
            longest
        });
        let began = Instant::now();
        while all.iter().any(|slow| !slow.ended) && began.elapsed() < PATIENCE {
            all.iter_mut().filter(|slow| !slow.ended).for_each(Slow::go_on);
            thread::sleep(Duration::from_secs(1));
        }
        stop.store(true, Relaxed);
        other.join().unwrap()
    })
}

#[test]
fn a_thousand_slow_connections_do_not_stop_the_others_and_are_ended() {
    allow_many_files();
    let api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=9, "Sales"));
    let before = (api.muster.log(), super::bodies::files(&api));
    let heads = heads(&api);
    let mut all: Vec<Slow> = (0..MANY).map(|no| Slow::begin(&api, &heads[no % heads.len()])).collect();
    let longest = slowly(&api, &mut all);
    assert!(longest < PROMPTLY, "somebody waited for {longest:?}");
    for (no, slow) in all.iter().enumerate() {
        assert!(slow.ended, "a slow connection goes on: {}", heads[no % heads.len()]);
        let answer = String::from_utf8_lossy(&slow.answer);
        // A head that does not come gets no answer; a body is waited for as long as the problem says.
        match no % heads.len() {
            0 => assert_eq!(answer, ""),
            _ => assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problems/timeout"), "{answer}"),
        }
    }
    assert_eq!(before, (api.muster.log(), super::bodies::files(&api)), "nothing was taken, and nothing is left");
    api.muster.verify();
}

/// The same command, with so many files that it may open.
fn with_few_files(command: &mut Command, files: u32) {
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "ulimit -n $0; exec \"$@\"", &files.to_string()]);
    limited.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    *command = limited;
}

#[test]
fn whoever_says_nothing_makes_room_where_there_is_little() {
    allow_many_files();
    let mut api = Api::start(On::Sqlite);
    api.upload("mode=full", &people(1..=9, "Sales"));
    api.served = Served::begin(&api.muster, &[], |command| with_few_files(command, 200));
    until("the number of connections", || api.served.log().contains("connections=100"));
    let [head, ..] = heads(&api);
    let began = Instant::now();
    let mut all: Vec<Slow> = (0..MANY).map(|_| Slow::begin(&api, &head)).collect();
    // All but the last hundred have made room at once, for nobody waited for them.
    let longest = slowly(&api, &mut all);
    assert!(longest < PROMPTLY, "somebody waited for {longest:?}, of {:?}", began.elapsed());
    assert!(all.iter().all(|slow| slow.ended && slow.answer.is_empty()));
    // Nor does anybody who reads nothing: the page to try the API is large enough to fill what lies between.
    let ask = |path: &str| Slow::begin(&api, &format!("GET {path} HTTP/1.1\r\nHost: muster\r\n\r\n").repeat(50));
    let unread: Vec<Slow> = (0..150).map(|_| ask("/api-docs/try/swagger-ui-bundle.js")).collect();
    let began = Instant::now();
    let answer = api.said("GET", "/api/v1/organisation", &Said { key: Some(&api.key), ..Said::default() });
    assert!(answer.status == 200 && began.elapsed() < PROMPTLY, "{:?}", began.elapsed());
    drop(unread);
}
