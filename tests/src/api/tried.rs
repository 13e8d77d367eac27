//! The try-it page, as somebody with a browser uses it: they give it their key, try an address, and see what it answers.
//!
//! The browser is told what to do over WebDriver (<https://www.w3.org/TR/webdriver2/>), by Debian's `chromedriver`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use super::{Api, On};
use crate::served::within;

/// The key under which WebDriver names an element (section 12.1.1 of the standard).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The key that sends a form (section 17.4.2).
const ENTER: char = '\u{e007}';

/// A browser that does what it is told. It can reach nothing but the server, and is closed when this value is dropped.
struct Browser {
    driver: Child,
    /// Where its session is told what to do.
    session: String,
    _home: tempfile::TempDir,
}

impl Browser {
    fn open() -> Browser {
        let home = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .env("HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, which tests/run installs");
        let said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let at = format!("http://127.0.0.1:{}/session", port.expect("the port of chromedriver"));
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--window-size=1400,2400".to_owned(),
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".to_owned(),
            format!("--user-data-dir={}", home.path().join("profile").display()),
        ];
        let options = json!({ "binary": "/usr/bin/chromium", "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let mut browser = Browser { driver, session: at, _home: home };
        let id = browser.tell("", &wanted).expect("a session")["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Tells it something; gives what it answers, or what it calls the error.
    fn tell(&self, what: &str, document: &Value) -> Result<Value, String> {
        let output = Command::new("curl")
            .args(["-sS", "--noproxy", "*", "-H", "Content-Type: application/json", "-d", &document.to_string()])
            .arg(format!("{}{what}", self.session))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"].as_str().unwrap_or(""))),
            None => Ok(value),
        }
    }

    fn go(&self, url: &str) {
        self.tell("/url", &json!({ "url": url })).unwrap();
    }

    /// Does something to what a selector finds, as soon as that is there and can be used.
    fn use_it(&self, selector: &str, how: &str, with: &Value) {
        within(selector, || {
            let found = self.tell("/element", &json!({ "using": "css selector", "value": selector })).ok()?;
            self.tell(&format!("/element/{}/{how}", found[ELEMENT].as_str()?), with).ok()
        });
    }

    fn click(&self, selector: &str) {
        self.use_it(selector, "click", &json!({}));
    }

    /// The text of what a selector finds, as soon as there is some.
    fn text(&self, selector: &str) -> String {
        let script =
            "const found = document.querySelector(arguments[0]); return found ? found.textContent.trim() : '';";
        within(selector, || {
            let text = self.tell("/execute/sync", &json!({ "script": script, "args": [selector] })).ok()?;
            text.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("curl").args(["-s", "-o", "/dev/null", "-X", "DELETE", &self.session]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The answer that the page shows of an operation: the status, and the body.
fn tried(browser: &Browser, operation: &str) -> (String, String) {
    let of = |part: &str| format!("#operations-{operation} {part}");
    browser.click(&of(".opblock-summary-control"));
    browser.click(&of(".execute"));
    let status = browser.text(&of(".live-responses-table .response .response-col_status"));
    let body = browser.text(&of(".live-responses-table .response .highlight-code"));
    (status, body)
}

#[test]
fn an_address_is_tried_in_a_browser_with_a_key() {
    let api = Api::start(On::Sqlite);
    let document = api.served.get("/openapi.json").json();
    let get = &document["paths"]["/api/v1/organisation"]["get"];
    let operation = format!("{}-{}", get["tags"][0].as_str().unwrap(), get["operationId"].as_str().unwrap());
    let browser = Browser::open();
    let page = format!("http://{}/api-docs/try/", api.served.address());
    browser.go(&page);
    let (status, body) = tried(&browser, &operation);
    assert!(status.starts_with("401") && body.contains("/api-docs/problems/no-key"), "{status}: {body}");

    browser.go(&page);
    browser.click(".auth-wrapper .authorize");
    browser.use_it("#auth-bearer-value", "value", &json!({ "text": format!("{}{ENTER}", api.key) }));
    browser.click(".modal-ux .close-modal");
    let (status, body) = tried(&browser, &operation);
    assert!(status.starts_with("200") && body.contains("\"slug\": \"acme\""), "{status}: {body}");
    // A key is kept by the page for as long as it is open, and nowhere else.
    browser.go(&page);
    let (status, _) = tried(&browser, &operation);
    assert!(status.starts_with("401"), "{status}");
}
