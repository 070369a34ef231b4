//lint:file-ignore ST1018 Persian is written with zero-width non-joiners, and escapes could not be read

package main

import "strings"

// pageText is a user's page in one language. The texts with %s name apps.
type pageText struct {
	Lang, Dir, Name string
	Title           string
	Secret          string // share it with nobody
	Order           string
	Durable         string
	Burnable, Next  string

	title, comma      string // of the apps of a link; between two of them
	messenger, tunnel cardText
}

// cardText is what to do with a link.
type cardText struct{ open, how, scan, fallback string }

func (t pageText) of(c card) cardText {
	if c.Import {
		return t.tunnel
	}
	return t.messenger
}

// named puts the apps of a card into a text that has a place for them.
func (t pageText) named(text string, c card) string {
	return strings.ReplaceAll(text, "%s", strings.Join(c.Apps, t.comma))
}

// For says which apps a link is for.
func (t pageText) For(c card) string { return t.named(t.title, c) }

// Open is the text of the button.
func (t pageText) Open(c card) string { return t.named(t.of(c).open, c) }

// How is what to do with it.
func (t pageText) How(c card) string { return t.named(t.of(c).how, c) }

// Scan is what to do with the QR code.
func (t pageText) Scan(c card) string { return t.of(c).scan }

// Fallback is what to do where the button does nothing.
func (t pageText) Fallback(c card) string { return t.named(t.of(c).fallback, c) }

// pageTexts are the languages of a page; the first is shown at once.
var pageTexts = []pageText{
	{
		Lang: "en", Dir: "ltr", Name: "English",
		Title:    "Your links",
		Secret:   "Share this page and its links with nobody. Whoever has them connects in your name, and links that get around are soon blocked.",
		Order:    "Try them in this order. The first one that works is enough.",
		Durable:  "Made to last.",
		Burnable: "May be blocked one day.", Next: "Then try the next one.",
		title: "For %s", comma: ", ",
		messenger: cardText{
			open:     "Open in %s",
			how:      "On a phone or computer with %s, press the button and confirm.",
			scan:     "Or scan this with the camera of the phone that should use it.",
			fallback: "If nothing opens, paste this link into Saved Messages in %s and tap it there:",
		},
		tunnel: cardText{
			open:     "Open in the app",
			how:      "You need one of these apps. Install it, press the button, and connect in the app. Everything on the device then goes through it.",
			scan:     "Or scan this in the app, on the phone that should use it.",
			fallback: "If nothing opens, copy this link and import it from the clipboard in the app:",
		},
	},
	{
		Lang: "ru", Dir: "ltr", Name: "Русский",
		Title:    "Ваши ссылки",
		Secret:   "Никому не передавайте эту страницу и ссылки с неё. Тот, у кого они есть, подключается от вашего имени, а разошедшиеся ссылки быстро блокируют.",
		Order:    "Пробуйте по порядку. Достаточно первой, которая заработает.",
		Durable:  "Рассчитана надолго.",
		Burnable: "Её могут когда-нибудь заблокировать.", Next: "Тогда пробуйте следующую.",
		title: "Для %s", comma: ", ",
		messenger: cardText{
			open:     "Открыть в %s",
			how:      "На телефоне или компьютере с %s нажмите кнопку и подтвердите.",
			scan:     "Или наведите на код камеру того телефона, на котором нужна ссылка.",
			fallback: "Если ничего не открылось, вставьте эту ссылку в «Избранное» в %s и нажмите на неё там:",
		},
		tunnel: cardText{
			open:     "Открыть в приложении",
			how:      "Нужно одно из этих приложений. Установите его, нажмите кнопку и подключитесь в приложении. После этого через него идёт всё, что есть на устройстве.",
			scan:     "Или отсканируйте код в приложении на том телефоне, на котором нужна ссылка.",
			fallback: "Если ничего не открылось, скопируйте эту ссылку и импортируйте её в приложении из буфера обмена:",
		},
	},
	{
		Lang: "fa", Dir: "rtl", Name: "فارسی",
		Title:    "پیوندهای شما",
		Secret:   "این صفحه و پیوندهایش را به هیچ‌کس ندهید. هر کس آن‌ها را داشته باشد به نام شما وصل می‌شود، و پیوندی که پخش شود زود مسدود می‌شود.",
		Order:    "به همین ترتیب امتحان کنید. اولین پیوندی که کار کند کافی است.",
		Durable:  "برای ماندگاری ساخته شده است.",
		Burnable: "ممکن است روزی مسدود شود.", Next: "آن‌وقت پیوند بعدی را امتحان کنید.",
		title: "برای %s", comma: "، ",
		messenger: cardText{
			open:     "باز کردن در %s",
			how:      "روی تلفن یا رایانه‌ای که %s دارد، دکمه را بزنید و تأیید کنید.",
			scan:     "یا این کد را با دوربین تلفنی که قرار است از آن استفاده کند بخوانید.",
			fallback: "اگر چیزی باز نشد، این پیوند را در «پیام‌های ذخیره‌شده» (Saved Messages) در %s بفرستید و همان‌جا روی آن بزنید:",
		},
		tunnel: cardText{
			open:     "باز کردن در برنامه",
			how:      "یکی از این برنامه‌ها لازم است. آن را نصب کنید، دکمه را بزنید و در برنامه وصل شوید. پس از آن همه‌چیز در این دستگاه از آن می‌گذرد.",
			scan:     "یا این کد را در برنامه، روی تلفنی که قرار است از آن استفاده کند، اسکن کنید.",
			fallback: "اگر چیزی باز نشد، این پیوند را کپی کنید و در برنامه از کلیپ‌بورد وارد کنید:",
		},
	},
	{
		Lang: "zh", Dir: "ltr", Name: "中文",
		Title:    "您的链接",
		Secret:   "不要把此页面和其中的链接给任何人。拿到链接的人会以您的名义连接，流传开的链接很快就会被封锁。",
		Order:    "请按顺序尝试，第一个能用的就够了。",
		Durable:  "可长期使用。",
		Burnable: "有一天可能会被封锁。", Next: "届时请尝试下一个。",
		title: "适用于 %s", comma: "、",
		messenger: cardText{
			open:     "在 %s 中打开",
			how:      "在装有 %s 的手机或电脑上，点按按钮并确认。",
			scan:     "或者用要使用它的手机的相机扫描此二维码。",
			fallback: "如果没有反应，请把此链接粘贴到 %s 的“收藏夹”（Saved Messages）里，再在那里点按：",
		},
		tunnel: cardText{
			open:     "在应用中打开",
			how:      "需要其中任一应用。安装后点按按钮，再在应用中连接，此后设备上的所有流量都经由它。",
			scan:     "或者在要使用它的手机上，用该应用扫描此二维码。",
			fallback: "如果没有反应，请复制此链接，再在应用中选择从剪贴板导入：",
		},
	},
}
