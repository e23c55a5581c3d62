//! Init itself: from the first mount to the last.

mod child;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use self::child::{ended, terminate};
use crate::blocks::Disk;
use crate::console::Console;
use crate::facts::Facts;
use crate::first_boot::{self, BoardSection, Orders, RESET_FILE, Reset, STATUS_FILE};
use crate::led::{self, Led, Sign};
use crate::storage::{self, Permissions, Place};
use crate::system::{self, Stop};
use crate::watchdog::Heart;
use crate::{Agent, STATUS_IN_MEMORY};
use crate::{network, power, slot, watchdog, wifi};

const BEAT_EVERY: Duration = Duration::from_secs(1);
/// An agent that ended is started again after this, then after twice as long, up to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// An agent that ran so long starts the back-off anew.
const RAN_WELL: Duration = Duration::from_secs(120);
/// Between two looks at what the card has had to bear.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Between looks for drives that were plugged in, and for a new state.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const READY_EVERY: Duration = Duration::from_millis(100);
/// Added to the priority's number. Source: nice(2).
const LEAST_PRIORITY: i32 = 19;
/// The first line that says where S3 is waits so long for an address.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Runs the board. Comes back only where the kernel refuses to stop it.
pub fn run(agent: Agent) -> ExitCode {
    if let Err(error) = system::mount_basics() {
        // There may be no console yet but the kernel's own, which is standard output.
        println!("shoal: {error}");
    }
    let facts = match Facts::load() {
        Ok(facts) => facts,
        Err(error) => {
            println!("shoal: this image is damaged: {error}");
            return ExitCode::FAILURE;
        }
    };
    let console = Console::open(facts.consoles.iter().map(String::as_str));
    console.say(&format!("version {} on {}", facts.version, facts.board));
    system::load_modules(&facts.modules, &console);
    let led = Led::find(Path::new(led::CLASS), &facts.leds);
    led.show(Sign::Starting);
    let heart = Heart::default();
    if facts.watchdog && !watchdog::start(heart.clone()) {
        console.say("the watchdog does not answer: a board that hangs stays so");
    }
    match system::clock_floor(facts.not_before) {
        Ok(true) if facts.real_time_clock => {
            console.say("the clock was older than this image: is its battery empty?");
        }
        Ok(true) => {}
        Ok(false) => {}
        Err(error) => console.say(&format!("the clock cannot be set: {error}")),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let how = match runtime {
        Ok(runtime) => {
            runtime.block_on(Init { agent, facts, console: console.clone(), led: led.clone(), heart }.run())
        }
        Err(error) => {
            console.say(&format!("init cannot run: {error}"));
            Stop::Restart
        }
    };
    console.say(match how {
        Stop::PowerOff => "off",
        Stop::Restart => "restarting",
    });
    led.show(Sign::Off);
    let error = system::stop(how);
    console.say(&format!("the board cannot be stopped: {error}"));
    ExitCode::FAILURE
}

struct Init {
    agent: Agent,
    facts: Facts,
    console: Console,
    led: Led,
    heart: Heart,
}

/// What the card is told about the state: its file is written when this changes.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    state: String,
}

/// What happened while the agent ran.
enum Event {
    Ended(String),
    Stop(Stop),
    Drives(Vec<Place>),
}

impl Init {
    async fn run(self) -> Stop {
        let (orders_sender, mut stops) = mpsc::channel(4);
        tokio::spawn(power::listen(orders_sender.clone()));
        listen_to_signals(orders_sender);
        self.beat();
        let card = blocking(storage::find_card).await.flatten();
        let mut orders = match card.as_ref().map(|card| card.whole.path.clone()) {
            Some(path) => {
                let wifi = self.facts.wifi;
                blocking(move || Orders::take(&path, wifi)).await.unwrap_or_default()
            }
            None => {
                self.console.say("no card with an image of Shoal: what stands on it is not known");
                Orders::default()
            }
        };
        if let Some(reset) = orders.reset {
            orders.notes.push(self.reset(card.clone(), reset).await);
        }
        for note in &orders.notes {
            self.console.say(note);
        }
        let wifi = self.prepare_wifi(&orders.board);
        if wifi {
            network::wait_for_hardware().await;
        }
        let name = orders.board.host_name.clone();
        let name = name.unwrap_or_else(|| network::name_of_host(Path::new(network::SYS_NET)));
        if rustix::system::sethostname(name.as_bytes()).is_err() {
            self.console.say(&format!("the name {name} is refused"));
        }
        let wanted = network::Wanted { host_name: name.clone(), fixed: orders.board.network.clone(), wifi };
        tokio::spawn(network::run(wanted, self.console.clone()));
        let told = Arc::new(Mutex::new(Told { notes: orders.notes.clone(), state: String::new() }));
        self.check_slot(card.as_ref(), &told);
        let by_ticket = orders.ticket.as_ref().is_some_and(|ticket| (self.agent.ticket_takes_blank)(ticket));
        let permissions = Permissions { format_blank_drives: orders.board.format_blank_drives || by_ticket };
        let mut places = {
            let (card, console, first) = (card.clone(), self.console.clone(), orders.first_start);
            let prepare = move || storage::prepare(card.as_ref(), first, permissions, &console);
            blocking(prepare).await.unwrap_or_default()
        };
        let mut pause = BACK_OFF.0;
        loop {
            let started = tokio::time::Instant::now();
            match self.live(card.as_ref(), &orders, &places, &told, &name, permissions, &mut stops).await {
                Event::Stop(how) => {
                    for place in &places {
                        storage::release(place);
                    }
                    return how;
                }
                Event::Drives(more) => {
                    places.extend(more);
                    continue;
                }
                Event::Ended(why) => {
                    self.led.show(Sign::Trouble);
                    self.console.say(&why);
                }
            }
            if started.elapsed() > RAN_WELL {
                pause = BACK_OFF.0;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(how) = stops.recv() => {
                    for place in &places {
                        storage::release(place);
                    }
                    return how;
                }
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }

    /// Erases what the owner says. The order goes last, so that a power cut repeats it.
    async fn reset(&self, card: Option<Disk>, reset: Reset) -> String {
        let console = self.console.clone();
        let erased = blocking(move || {
            storage::reset(card.as_ref(), reset == Reset::CardAndDrives, &console)?;
            let Some(card) = card else { return Ok(()) };
            first_boot::reset_done(&card.whole.path).map(drop).map_err(|error| error.to_string())
        });
        match erased.await {
            Some(Ok(())) => format!("applied: {RESET_FILE}: the board is as new"),
            Some(Err(why)) => format!("wrong: {RESET_FILE}: {why}; it is tried again at the next start"),
            None => format!("wrong: {RESET_FILE} was not carried out"),
        }
    }

    /// Is there Wi-Fi to be joined?
    fn prepare_wifi(&self, board: &BoardSection) -> bool {
        if board.wifi.is_empty() {
            return false;
        }
        let written = wifi::write_config(&wifi::config(board.wifi_country.as_deref(), &board.wifi));
        if let Err(error) = &written {
            self.console.say(&format!("Wi-Fi cannot be joined: {error}"));
        }
        written.is_ok()
    }

    fn beat(&self) {
        let heart = self.heart.clone();
        tokio::spawn(async move {
            loop {
                heart.beat();
                tokio::time::sleep(BEAT_EVERY).await;
            }
        });
    }

    /// Beside everything else, in time that nobody else wants: the system runs from memory by now, and its data do not depend
    /// on the slot.
    fn check_slot(&self, card: Option<&Disk>, told: &Arc<Mutex<Told>>) {
        let (Some(card), Some(slot)) = (card, system::command_line_word("shoal.slot")) else { return };
        let (path, facts, console) = (card.whole.path.clone(), self.facts.clone(), self.console.clone());
        let told = Arc::clone(told);
        tokio::spawn(async move {
            let named = slot.clone();
            let (sender, checked) = oneshot::channel();
            // A thread of its own: its priority goes with it.
            std::thread::spawn(move || {
                let _ = rustix::process::nice(LEAST_PRIORITY);
                let file = std::fs::File::options().read(true).write(true).open(path);
                let file = file.map_err(|error| error.to_string());
                let _ = sender.send(file.and_then(|file| slot::check(file, &named, &facts)));
            });
            let line = match checked.await {
                Ok(Ok(version)) => format!("slot {slot}: version {version}, every file is what was signed"),
                Ok(Err(why)) => format!("wrong: {why}"),
                Err(_) => return,
            };
            console.say(&line);
            told.lock().unwrap_or_else(PoisonError::into_inner).notes.push(line);
        });
    }

    /// One life of the agent.
    #[expect(clippy::too_many_arguments, reason = "the state of one loop")]
    async fn live(
        &self,
        card: Option<&Disk>,
        orders: &Orders,
        places: &[Place],
        told: &Arc<Mutex<Told>>,
        name: &str,
        permissions: Permissions,
        stops: &mut mpsc::Receiver<Stop>,
    ) -> Event {
        let card_path = card.map(|card| card.whole.path.clone());
        let tell = |state: String| {
            told.lock().unwrap_or_else(PoisonError::into_inner).state = state;
        };
        let mut child = None;
        if places.is_empty() {
            self.console.say("no place for data: plug in a drive that was prepared, or use a larger card");
            tell("there is no place for data".to_owned());
            self.led.show(Sign::Waiting);
        } else {
            self.led.show(Sign::Starting);
            let begun = async {
                self.become_member(card_path.as_deref(), orders, places).await?;
                self.start_agent(orders, places, told).await
            };
            let begun = tokio::select! {
                begun = begun => begun,
                Some(how) = stops.recv() => return Event::Stop(how),
            };
            match begun {
                Ok(started) => child = Some(started),
                Err(why) => {
                    tell(why.clone());
                    self.write_status(card_path.as_deref(), told, name).await;
                    return Event::Ended(why);
                }
            }
        }
        let mut ready = false;
        let mut answers_since = None;
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut day = tokio::time::interval_at(tokio::time::Instant::now() + DAY, DAY);
        let mut knock = tokio::time::interval(READY_EVERY);
        loop {
            tokio::select! {
                Some(how) = stops.recv() => {
                    self.led.show(Sign::Starting);
                    self.console.say(&format!("stopping; {}", system::vitals(card_path.as_deref())));
                    if let Some(child) = &mut child {
                        terminate(child).await;
                    }
                    return Event::Stop(how);
                }
                ended = ended(&mut child) => return Event::Ended(ended),
                _ = knock.tick(), if child.is_some() && !ready => {
                    if tokio::net::TcpStream::connect(("127.0.0.1", self.s3_port(orders))).await.is_err() {
                        continue;
                    }
                    let since = *answers_since.get_or_insert_with(tokio::time::Instant::now);
                    ready = since.elapsed() > ADDRESS_PATIENCE || !addresses().is_empty();
                    if ready {
                        let state = self.serving(orders);
                        self.console.say(&state);
                        self.led.show(Sign::Ready);
                        tell(state);
                        self.console.say(&system::vitals(card_path.as_deref()));
                        self.forget_ticket(card_path.as_deref(), orders).await;
                        self.write_status(card_path.as_deref(), told, name).await;
                    }
                }
                _ = day.tick() => self.console.say(&system::vitals(card_path.as_deref())),
                _ = look.tick() => {
                    let (card, known, console) = (card.cloned(), places.to_vec(), self.console.clone());
                    let find = move || storage::newcomers(card.as_ref(), permissions, &known, &console);
                    let more = blocking(find).await.unwrap_or_default();
                    if !more.is_empty() {
                        self.console.say("a data drive was plugged in");
                        if let Some(child) = &mut child {
                            terminate(child).await;
                        }
                        return Event::Drives(more);
                    }
                    if ready {
                        let state = self.serving(orders);
                        if told.lock().unwrap_or_else(PoisonError::into_inner).state != state {
                            self.console.say(&state);
                        }
                        tell(state);
                    }
                    self.write_status(card_path.as_deref(), told, name).await;
                }
            }
        }
    }

    async fn write_status(&self, card: Option<&Path>, told: &Mutex<Told>, name: &str) {
        let text = {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let notes: String = told.notes.iter().map(|note| format!("{note}\n")).collect();
            format!(
                "Shoal {} on {}, host name {name}\n{}\n\n{notes}",
                self.facts.version, self.facts.board, told.state
            )
        };
        // For the agent, which gives it to whoever asks for the node's status.
        let _ = std::fs::write(STATUS_IN_MEMORY, &text);
        let Some(card) = card.map(Path::to_owned) else { return };
        if let Some(Err(error)) = blocking(move || first_boot::put_text(&card, STATUS_FILE, &text)).await {
            self.console.say(&format!("{STATUS_FILE} cannot be written: {error}"));
        }
    }

    fn serving(&self, orders: &Orders) -> String {
        let port = self.s3_port(orders);
        let addresses = addresses();
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}:{port}")).collect();
        if urls.is_empty() {
            return "ready, but no network gave this board an address yet".to_owned();
        }
        format!("ready: S3 at {}", urls.join(" "))
    }

    fn s3_port(&self, orders: &Orders) -> u16 {
        let listen = orders.agent.get("s3").and_then(|s3| s3.get("listen")).and_then(toml::Value::as_str);
        let address = listen.and_then(|text| text.parse::<std::net::SocketAddr>().ok());
        address.map_or(self.agent.s3_port, |address| address.port())
    }
}

/// The addresses of IPv4 that this board has, loopback's left out.
fn addresses() -> Vec<String> {
    let listed = std::process::Command::new("/usr/bin/ip").args(["-4", "-o", "addr"]).output();
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_whitespace().skip_while(|&word| word != "inet").nth(1))
        .filter_map(|address| address.split('/').next())
        .filter(|address| !address.starts_with("127."))
        .map(str::to_owned)
        .collect()
}

fn listen_to_signals(orders: mpsc::Sender<Stop>) {
    let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
    for (kind, order) in [
        (SignalKind::terminate(), Stop::PowerOff),
        (SignalKind::user_defined2(), Stop::PowerOff),
        (SignalKind::interrupt(), Stop::Restart),
    ] {
        let Ok(mut stream) = signal(kind) else { continue };
        let orders = orders.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if orders.send(order).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Off the loop whose beat the watchdog waits for. Nothing where the work panicked.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    spawn_blocking(work).await.ok()
}
