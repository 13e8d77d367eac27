//! Connections: so many at once, each with so much time to say what it wants, and none that can stop the others.

use std::{convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::Service as HyperService};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

mod held;
mod line;
mod places;

pub use held::until_sent;
use line::Line;
pub use places::Place;
use places::Places;

/// Within which the head of a request must be there, and for how long a connection may wait for its next request.
const HEAD: Duration = Duration::from_secs(20);
/// For how long an answer may get no further because nobody reads it.
const UNREAD: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 64 << 10;
/// More connections than this there are never at once.
const MOST: u64 = 4096;
/// For how long, and how much of, a body that nobody wanted is read away, so that the answer reaches whoever still sends.
const LINGER: (Duration, u64) = (Duration::from_secs(2), 16 << 20);

/// How many connections there may be at once: half of the files that the process may have open, since requests open files
/// too. The process first allows itself as many as it can.
fn most() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let now = getrlimit(Resource::Nofile);
        // Where that is not allowed it stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = (files / 2).clamp(8, MOST);
        tracing::info!(files, connections = most, "so many connections at once");
        usize::try_from(most).unwrap_or(usize::MAX)
    }
    #[cfg(not(unix))]
    {
        MOST as usize
    }
}

/// Answers requests until `stop` is true; those under way are finished.
///
/// # Errors
/// None so far: a connection that cannot be accepted is waited for.
pub async fn serve(listener: TcpListener, routes: Router, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let places = Places::new(most());
    // Each connection holds a receiver: when nobody holds one, all have ended.
    let (ended, held) = watch::channel(());
    loop {
        let next = async {
            let (stream, from) = accept(&listener).await;
            (stream, from, places.take().await)
        };
        let (stream, from, place) = tokio::select! {
            // An error means that nobody can tell us any more: the process is ending.
            _ = stop.wait_for(|stop| *stop) => break,
            next = next => next,
        };
        let (routes, stop, held) = (routes.clone(), stop.clone(), held.clone());
        tokio::spawn(async move {
            attend(stream, Answering { routes, from, place: place.place() }, stop).await;
            drop((place, held));
        });
    }
    drop((listener, held));
    ended.closed().await;
    Ok(())
}

/// The next connection. What a single one fails with is nobody else's trouble, and where the process or the machine has no
/// more files, one that ends gives one back.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(e) if is_its_own(&e) => {}
            Err(e) => {
                tracing::error!(error = %e, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_its_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// One connection, from its first request to its last.
async fn attend(stream: TcpStream, answering: Answering, mut stop: watch::Receiver<bool>) {
    let place = answering.place.clone();
    let _ = stream.set_nodelay(true);
    let mut conn = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(Line::new(stream, UNREAD)), answering);
    let mut stopping = false;
    loop {
        tokio::select! {
            // What went wrong is the other side's matter: it has gone, was too slow, or sent what is no request.
            _ = poll_fn(|cx| conn.poll_without_shutdown(cx)) => break,
            () = place.gave_way() => return,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                Pin::new(&mut conn).graceful_shutdown();
            }
        }
    }
    linger(conn.into_parts().io.into_inner().into_inner()).await;
}

/// Ends a connection so that what was answered arrives: whoever is still sending when it is closed would lose it.
async fn linger(mut stream: TcpStream) {
    let (patience, most) = LINGER;
    let reading = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink()).await
    };
    let _ = timeout(patience, reading).await;
}

/// Answers the requests of one connection.
struct Answering {
    routes: Router,
    from: SocketAddr,
    place: Arc<Place>,
}

impl HyperService<hyper::Request<Incoming>> for Answering {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.from));
        request.extensions_mut().insert(self.place.clone());
        let mut routes = self.routes.clone();
        Box::pin(async move { tower_service::Service::call(&mut routes, request).await })
    }
}
