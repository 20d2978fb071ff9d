import type { Random } from './random.js';

/** A language as mail is written in it: words, a charset it is often sent in, and people who write it. */
export interface Tongue {
  readonly charset: string;
  readonly words: readonly string[];
  readonly people: readonly (readonly [name: string, address: string])[];
  readonly reply: string;
}

const split = (text: string): string[] => text.split(' ');

const ENGLISH: Tongue = {
  charset: 'us-ascii',
  words: split(
    'the project meeting invoice report budget schedule release update review customer contract please find attached ' +
      'draft version tomorrow thanks for your answer about travel hotel booking ticket order shipping number question ' +
      'server backup result of last week we should talk before Monday regarding final numbers team offer proposal and',
  ),
  people: [
    ['Anna Miller', 'anna.miller@corp.example'],
    ['Brown, Peter', 'peter@brown.example'],
    ['Support', 'support@shop.example'],
    ['Carol Q. Smith', 'carol@example.org'],
    ['Dev Patel', 'dev.patel@corp.example'],
  ],
  reply: 'Re: ',
};

const GERMAN: Tongue = {
  charset: 'iso-8859-1',
  words: split(
    'die Besprechung über Anhang Rechnung für März Grüße natürlich können wir später prüfen Änderung Vertrag Größe ' +
      'Übersicht nächste Woche bitte möglichst früh zurück Bestätigung Straße schön',
  ),
  people: [
    ['Jürgen Müller', 'juergen@mueller.example'],
    ['Käthe Groß', 'kaethe@firma.example'],
  ],
  reply: 'AW: ',
};

const RUSSIAN: Tongue = {
  charset: 'koi8-r',
  words: split('привет отчёт встреча завтра договор счёт вопрос спасибо проект обновление новый заказ доставка'),
  people: [['Иван Петров', 'ivan@petrov.example']],
  reply: 'Re: ',
};

const JAPANESE: Tongue = {
  charset: 'iso-2022-jp',
  words: split('会議 資料 添付 確認 お願いします 明日 予定 報告書 ありがとう 更新 契約 見積'),
  people: [['山田太郎', 'yamada@kaisha.example']],
  reply: 'Re: ',
};

const GREEK: Tongue = {
  charset: 'utf-8',
  words: split('συνάντηση έγγραφο αύριο ευχαριστώ πρόγραμμα αναφορά 📎 ερώτηση παραγγελία'),
  people: [['Ελένη Παπαδοπούλου', 'eleni@papad.example']],
  reply: 'Re: ',
};

const CHINESE: Tongue = {
  charset: 'gb18030',
  words: split('会议 报告 附件 明天 谢谢 合同 订单 更新 问题 项目'),
  people: [['李小龙', 'li@gongsi.example']],
  reply: 'Re: ',
};

const TONGUES = { ENGLISH, GERMAN, RUSSIAN, JAPANESE, GREEK, CHINESE };

export function anyTongue(random: Random): Tongue {
  return TONGUES[random.weighted({ ENGLISH: 70, GERMAN: 14, RUSSIAN: 4, JAPANESE: 4, GREEK: 5, CHINESE: 3 })];
}

/** Some words in a row, without line ends. */
export function phrase(random: Random, tongue: Tongue, low: number, high: number): string {
  return Array.from({ length: random.int(low, high) }, () => random.pick(tongue.words)).join(' ');
}

/** Paragraphs of lines below 76 characters, `\n` line ends, roughly `lines` of them. */
export function prose(random: Random, tongue: Tongue, lines: number): string {
  let text = '';
  for (let line = 0; line < lines; line += 1) {
    text += `${phrase(random, tongue, 5, 9).slice(0, 74)}\n`;
    if (random.chance(0.15)) text += '\n';
  }
  return text;
}
