//! WebSockets with handlers for everything that can be asked of them, and a client.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tungstenite::handshake::client::{Request, Response as Answer, generate_key};
use tungstenite::protocol::CloseFrame;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::journal;
use crate::support::{Daemon, PATIENCE, Project, Response, dedent, eventually};

const SCHEMA: &str = r#"
    input Line { kind: String  text: String? @trim @maxLength(20)  to: String?  room: String?  code: Int? }
    ws Chat {
      path: "/ws/chat/{lobby}"
      message: Line
      onConnect: [chat_open]
      onMessage: [chat_said]
      onDisconnect: [chat_left]
      triggers: [Said]
    }
    ws Loud { path: "/ws/loud"  message: Json  onMessage: [loud_said]  onDisconnect: [loud_left]  broadcast: true }
    ws Raw { path: "/ws/raw"  message: Bytes  onMessage: [raw_said]  triggers: [Bits] }
    ws Slow { path: "/ws/slow"  onConnect: [slow_open] }
    ws Free { path: "/ws/free"  onMessage: [free_said] }
    ws Shut { path: "/ws/shut"  onConnect: [shut_open]  onDisconnect: [shut_left] }
    event Said { payload: Json  handler: [note_said] }
    event Tell { payload: Json  handler: [tell] }
    event Bits { payload: Bytes  handler: [note_bits] }
    api Send { method: POST  path: "/bits"  response: Bytes  triggers: [Bits] }
    api Push { method: POST  path: "/push"  body: Json  response: Json }
    api Notes { method: GET  path: "/notes"  response: Json }
"#;

const CHAT: &str = "
    from journal import *
    from generated.errors import Conflict

    async def chat_open(connection, state):
        note('open', connection.connection_id, connection.path, dict(connection.path_params), dict(connection.query_params),
             connection.headers.get('x-test'), connection.cookies.get('c'), str(connection.client))
        return {'welcome': connection.connection_id}

    async def chat_said(message, connection, state):
        said = message.data
        assert message.timestamp.tzinfo is not None
        if said.kind == 'echo':
            return {'echo': said.text}
        if said.kind == 'id':
            return connection.id
        if said.kind == 'none':
            return None
        if said.kind == 'set':
            state.set_payload('Said', {'set': said.text})
            return None
        if said.kind == 'fail':
            raise ValueError('secret particulars')
        if said.kind == 'conflict':
            raise Conflict('taken')
        if said.kind == 'wait':
            note('waiting', said.text)
            await wait_for('go')
            return {'waited': said.text}
        if said.kind == 'stream':
            for number in range(3):
                state.ws.send(connection.connection_id, {'part': number})
            return {'part': 'last'}
        if said.kind == 'join':
            state.ws.join(connection.id, said.room)
            return 'joined'
        if said.kind == 'join many':
            for number in range(said.code):
                state.ws.join(connection.id, f'room {number}')
            return 'joined'
        if said.kind == 'leave':
            state.ws.leave(connection.id, said.room)
            return 'left'
        if said.kind == 'room':
            state.ws.broadcast('Chat', {'room': said.text}, room=said.room, exclude=connection.id)
            return 'told'
        if said.kind == 'send':
            state.ws.send(said.to, {'from': connection.id})
            return None
        if said.kind == 'close':
            state.ws.send(connection.id, 'last words')
            state.ws.close(connection.id, said.code or 1000, 'as you wish')
            return 'too late'
        raise NotImplementedError(said.kind)

    def chat_left(connection, state):
        note('left', connection.connection_id, connection.close_code, connection.close_reason)
    ";

const OTHERS: [(&str, &str); 13] = [
    ("websockets/loud_said", "async def loud_said(message, connection, state):\n    return message.data\n"),
    (
        "websockets/loud_left",
        "from journal import *\ndef loud_left(connection):\n    note('loud left', connection.close_code)\n",
    ),
    (
        "websockets/raw_said",
        "def raw_said(message, connection, state):\n    assert isinstance(message.data, bytes)\n    return message.data[::-1]\n",
    ),
    (
        "websockets/free_said",
        "def free_said(message, connection, state):\n    data = message.data\n    return data if isinstance(data, bytes) else {'got': data}\n",
    ),
    (
        "websockets/slow_open",
        "
        from journal import *
        async def slow_open(connection, state):
            state.ws.send(connection.id, 'own')
            note('opening', connection.id)
            await wait_for('go')
            return 'welcome'
        ",
    ),
    ("events/note_bits", "from journal import *\ndef note_bits(event):\n    note('bits', event.payload.hex())\n"),
    ("api/send", "def handle_send():\n    return b'\\x01\\xfe'\n"),
    ("websockets/shut_open", "def shut_open(connection):\n    raise ValueError('no entry')\n"),
    (
        "websockets/shut_left",
        "from journal import *\ndef shut_left(connection):\n    note('shut left', connection.close_code)\n",
    ),
    ("events/note_said", "from journal import *\ndef note_said(event):\n    note('said', event.payload)\n"),
    ("events/tell", "async def tell(event, state):\n    state.ws.broadcast('Chat', {'event': event.payload})\n"),
    ("api/notes", "def handle_notes():\n    return []\n"),
    (
        "api/push",
        "
        async def handle_push(req, state):
            ask = req.body
            if ask.get('event'):
                state.trigger_event('Tell', ask['event'])
            data = b'\\x00\\xff' if ask.get('bytes') else ask.get('data')
            if ask.get('size'):
                data = 'x' * ask['size']
            if ask.get('to'):
                state.ws.send(ask['to'], data)
            if ask.get('ws'):
                state.ws.broadcast(ask['ws'], data, room=ask.get('room'), exclude=ask.get('exclude'))
            return 'done'
        ",
    ),
];

/// A project that has all of them, with further settings.
pub(crate) fn project(settings: &str) -> Project {
    let config = format!("[project]\nname = \"test\"\n[python]\nworkers = 1\n{}", dedent(settings));
    let mut project = Project::new().file("config/rohas.toml", &config).file("schema/schema.ro", SCHEMA);
    project = project.file("src/journal.py", journal::MODULE);
    // One file may have several handlers; each is looked for in a file of its own first.
    for name in ["chat_open", "chat_said", "chat_left"] {
        project = project.file(&format!("src/handlers/websockets/{name}.py"), CHAT);
    }
    OTHERS.iter().fold(project, |project, (name, code)| project.file(&format!("src/handlers/{name}.py"), code))
}

/// A client of a WebSocket.
pub(crate) struct Client(pub(crate) WebSocket<TcpStream>);

pub(crate) fn request(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::builder()
        .uri(format!("ws://{}{path}", daemon.address))
        .header("host", daemon.address.to_string())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

impl Client {
    pub(crate) fn open(daemon: &Daemon, path: &str) -> Self {
        Self::open_with(daemon, path, &[]).unwrap_or_else(|answer| panic!("{path} was refused: {answer:?}")).0
    }

    /// Opens one; an answer that refuses it is the error.
    pub(crate) fn open_with(
        daemon: &Daemon,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Self, Answer), Box<Response>> {
        let request = request(daemon, path, headers);
        match tungstenite::client(request, daemon.connect()) {
            Ok((socket, answer)) => Ok((Self(socket), answer)),
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(Box::new(Response::of(&answer))),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// The next message, passing over pings.
    pub(crate) fn next(&mut self) -> Message {
        loop {
            match self.0.read().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next message, which is JSON.
    pub(crate) fn json(&mut self) -> Value {
        match self.next() {
            Message::Text(text) => serde_json::from_str(text.as_str()).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    pub(crate) fn ask(&mut self, text: &str) -> Value {
        self.say(text);
        self.json()
    }

    /// The code and reason that the connection is closed with.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        match self.next() {
            Message::Close(Some(CloseFrame { code, reason })) => (code.into(), reason.as_str().to_owned()),
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Closes and waits until the other side has too.
    pub(crate) fn close(mut self) {
        self.0.close(None).unwrap();
        loop {
            match self.0.read() {
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whether nothing comes, as far as one can say: something that was sent to all later is the next that comes.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.0.get_mut().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let silent = matches!(self.0.read(), Err(tungstenite::Error::Io(_)) | Ok(Message::Ping(_)));
        self.0.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}

/// What the handlers have noted with `stage`, without it.
pub(crate) fn noted(project: &Project, stage: &str) -> Vec<Vec<Value>> {
    journal::notes(project, stage).into_iter().map(|note| note.as_array().unwrap().clone()).collect()
}

/// Waits for so many notes of `stage`.
pub(crate) fn wait_for_notes(project: &Project, stage: &str, count: usize) -> Vec<Vec<Value>> {
    eventually(stage, || Some(noted(project, stage)).filter(|notes| notes.len() >= count))
}
