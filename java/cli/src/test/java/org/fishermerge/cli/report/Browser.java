package org.fishermerge.cli.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.openqa.selenium.By;
import org.openqa.selenium.Dimension;
import org.openqa.selenium.Keys;
import org.openqa.selenium.WebElement;
import org.openqa.selenium.chrome.ChromeDriver;
import org.openqa.selenium.chrome.ChromeDriverService;
import org.openqa.selenium.chrome.ChromeOptions;
import org.openqa.selenium.interactions.Actions;
import org.openqa.selenium.logging.LogEntry;
import org.openqa.selenium.logging.LogType;
import org.openqa.selenium.logging.LoggingPreferences;

/** A headless Chromium, driven by WebDriver, that looks at pages of reports: one for all tests. */
public final class Browser {
  /** Why a test that needs one is skipped. */
  public static final String MISSING =
      "needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver";

  // Held, because the logging system keeps only weak references. It misses the interface of this
  // browser's version for things that are not used here.
  private static final Logger SELENIUM = Logger.getLogger("org.openqa.selenium");

  static {
    SELENIUM.setLevel(Level.SEVERE);
  }

  private static final By FIGURE = By.cssSelector("figure[data-label]");
  private static final JsonMapper MAPPER = new JsonMapper();
  private static final Duration LONGEST = Duration.ofSeconds(60);

  /** Where pictures of pages are left to look at; none without it. */
  private static final Optional<Path> PICTURES =
      Optional.ofNullable(System.getenv("FISHER_MERGE_PICTURES")).map(Path::of);

  private static @Nullable Browser opened;

  private final ChromeDriver driver;

  private Browser(ChromeDriver driver) {
    this.driver = driver;
  }

  private static Optional<File> found(String... places) {
    return Stream.of(places).map(File::new).filter(File::canExecute).findFirst();
  }

  private static Optional<File> chromium() {
    return found("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome");
  }

  private static Optional<File> chromeDriver() {
    return found("/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver");
  }

  public static boolean isThere() {
    return chromium().isPresent() && chromeDriver().isPresent();
  }

  /** The browser, which ends with this JVM. */
  public static synchronized Browser open() {
    if (opened == null) {
      opened = new Browser(start());
      Runtime.getRuntime().addShutdownHook(new Thread(opened.driver::quit));
    }
    return opened;
  }

  private static ChromeDriver start() {
    ChromeOptions options = new ChromeOptions();
    options.setBinary(chromium().orElseThrow());
    // Root, as in a container, has no sandbox; no page here is a stranger's.
    options.addArguments(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--window-size=1100,900");
    LoggingPreferences logs = new LoggingPreferences();
    logs.enable(LogType.BROWSER, Level.ALL);
    logs.enable(LogType.PERFORMANCE, Level.ALL);
    options.setCapability("goog:loggingPrefs", logs);
    ChromeDriverService service =
        new ChromeDriverService.Builder()
            .usingDriverExecutable(chromeDriver().orElseThrow())
            .usingAnyFreePort()
            .build();
    ChromeDriver driver = new ChromeDriver(service, options);
    driver.manage().timeouts().scriptTimeout(LONGEST);
    return driver;
  }

  /**
   * Opens a page and checks what holds for every one: no message, no request, nothing that axe
   * objects to, figures drawn, hover and arrow keys that tell numbers, and room on a phone.
   */
  public void check(Path page) throws IOException {
    checkQuiet(page);
    unfold();
    assertThat(violations("{}")).as("what axe says of %s", page).isEmpty();
    List<WebElement> figures = driver.findElements(FIGURE);
    if (!figures.isEmpty()) {
      explore(figures.getFirst());
    }
    pictures(page);
    media("light", "screen");
    driver.manage().window().setSize(new Dimension(390, 800));
    assertThat(
            (Boolean)
                driver.executeScript(
                    "return document.documentElement.scrollWidth <= window.innerWidth + 1"))
        .as("the page itself does not scroll sideways on a phone")
        .isTrue();
  }

  /** Opens a page and checks that it draws its figures, says nothing and asks for nothing. */
  public void checkQuiet(Path page) throws IOException {
    String url = page.toUri().toString();
    media("light", "screen");
    driver.manage().window().setSize(new Dimension(1100, 900));
    requests(); // those of pages before
    driver.get(url);
    assertThat(driver.manage().logs().get(LogType.BROWSER).getAll())
        .as("messages on the console of %s", page)
        .isEmpty();
    assertThat(requests()).as("requests of %s", page).containsOnly(url);
    for (WebElement figure : driver.findElements(FIGURE)) {
      assertThat(figure.findElements(By.cssSelector(".plot svg[role=img]"))).hasSize(1);
    }
  }

  /** The contrast of the page that is open, where the screen is dark. */
  public void checkDark() throws IOException {
    media("dark", "screen");
    assertThat(violations("{runOnly: ['color-contrast']}"))
        .as("what axe says of it in the dark")
        .isEmpty();
  }

  /** Every number of the report in a JSON file is in the page, as a number and not only a mark. */
  public void checkNumbers(Path page, Path json) throws IOException {
    JsonNode report = MAPPER.readTree(json.toFile()).path("fisher_merge").path("report");
    assertThat(report.path("schema").isNumber()).isTrue();
    driver.get(page.toUri().toString());
    Object values =
        driver.executeScript(
            "return [...document.querySelectorAll('data')].map(d => d.value + ' ').join('')");
    Set<String> shown = new HashSet<>(List.of(Objects.toString(values).trim().split(" +", -1)));
    Set<String> missing = new HashSet<>();
    numbers(report, missing);
    assertThat(missing).hasSizeGreaterThan(5);
    missing.removeAll(shown);
    assertThat(missing).as("numbers of %s that %s does not show", json, page).isEmpty();
  }

  private static void numbers(JsonNode node, Set<String> into) {
    if (node.isNumber()) {
      into.add(node.asText());
    }
    node.forEach(child -> numbers(child, into));
  }

  /** What a script finds in the page that is open. */
  Object evaluate(String script) {
    return Objects.requireNonNull(driver.executeScript(script));
  }

  private void media(String scheme, String medium) {
    driver.executeCdpCommand(
        "Emulation.setEmulatedMedia",
        Map.of(
            "media",
            medium,
            "features",
            List.of(Map.of("name", "prefers-color-scheme", "value", scheme))));
  }

  private List<String> requests() throws IOException {
    List<String> urls = new ArrayList<>();
    for (LogEntry entry : driver.manage().logs().get(LogType.PERFORMANCE)) {
      JsonNode message = MAPPER.readTree(entry.getMessage()).path("message");
      if (message.path("method").asText().equals("Network.requestWillBeSent")) {
        String url = message.at("/params/request/url").asText();
        if (!url.startsWith("data:")) {
          urls.add(url);
        }
      }
    }
    return urls;
  }

  /** By the keyboard, as whoever has no mouse opens a table. */
  private void unfold() {
    for (WebElement summary : driver.findElements(By.tagName("summary"))) {
      summary.sendKeys(Keys.ENTER);
    }
    assertThat(driver.findElements(By.cssSelector("details:not([open])"))).isEmpty();
  }

  private List<String> violations(String options) throws IOException {
    if (driver.executeScript("return typeof axe").equals("undefined")) {
      try (InputStream in =
          Objects.requireNonNull(Browser.class.getResourceAsStream("/axe.min.js"))) {
        driver.executeScript(new String(in.readAllBytes(), StandardCharsets.UTF_8));
      }
    }
    Object found =
        driver.executeAsyncScript(
            "const done = arguments[0]; axe.run(document, Object.assign({resultTypes: ['violations'],"
                + " elementRef: false}, "
                + options
                + ")).then(r =>"
                + " done(r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html +"
                + " ' ' + n.failureSummary).join(' | '))))");
    List<String> texts = new ArrayList<>();
    ((List<?>) Objects.requireNonNull(found)).forEach(each -> texts.add(String.valueOf(each)));
    return texts;
  }

  private void explore(WebElement figure) {
    WebElement drawing = figure.findElement(By.cssSelector(".plot svg"));
    WebElement tip = figure.findElement(By.cssSelector(".tip"));
    driver.executeScript("arguments[0].scrollIntoView({block: 'center'})", drawing);
    assertThat(tip.isDisplayed()).isFalse();
    new Actions(driver).moveToElement(drawing, 40, -10).click().perform();
    assertThat(tip.isDisplayed()).isTrue();
    assertThat(tip.getText()).containsPattern("\\d");
    drawing.sendKeys(Keys.HOME);
    String first = tip.getText();
    assertThat(first).containsPattern("\\d");
    drawing.sendKeys(Keys.END);
    assertThat(tip.getText()).containsPattern("\\d").isNotEqualTo(first);
    drawing.sendKeys(Keys.ESCAPE);
    assertThat(tip.isDisplayed()).isFalse();
  }

  private void pictures(Path page) throws IOException {
    if (PICTURES.isEmpty()) {
      return;
    }
    String name = page.getFileName() + "-" + Integer.toHexString(page.hashCode());
    driver.executeScript(
        "document.querySelectorAll('details').forEach(d => d.removeAttribute('open'))");
    picture(name + "-light.png", 1100, "light", "screen");
    picture(name + "-dark.png", 1100, "dark", "screen");
    picture(name + "-phone.png", 390, "light", "screen");
    picture(name + "-print.png", 720, "light", "print");
    driver.manage().window().setSize(new Dimension(1100, 900));
  }

  private void picture(String name, int width, String scheme, String medium) throws IOException {
    media(scheme, medium);
    driver.manage().window().setSize(new Dimension(width, 900));
    driver.executeAsyncScript(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() =>"
            + " done(1)))");
    Map<String, Object> taken =
        driver.executeCdpCommand(
            "Page.captureScreenshot", Map.of("format", "png", "captureBeyondViewport", true));
    Path folder = Files.createDirectories(PICTURES.orElseThrow());
    Files.write(
        folder.resolve(name), Base64.getDecoder().decode(Objects.toString(taken.get("data"))));
  }
}
